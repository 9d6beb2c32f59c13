package tenant

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sangate/sangate/pki"
)

// A Table maps names to tenants. It is immutable and safe for concurrent use.
type Table struct {
	tenants  []*Tenant
	byID     map[string]*Tenant
	roots    [pki.IP]node // by kind; IP has its own
	prefixes map[netip.Prefix]*rule
	lengths  []int // of the prefixes in use, see lengthCode
}

// A node is one place in the trie of segments. At most one rule ends here in
// each way.
type node struct {
	literal map[string]*node
	star    *node
	capture *node
	end     *rule
	rest    *rule // by "**": one or more segments from here
}

// A RuleError is one thing wrong with the rules; Tenant and SAN are indices into
// what NewTable was given, SAN is -1 where the entry as a whole is meant.
type RuleError struct {
	Tenant, SAN int
	Err         error
}

func (e *RuleError) Error() string { return e.Err.Error() }
func (e *RuleError) Unwrap() error { return e.Err }

// NewTable compiles the tenants' rules. The error joins a [*RuleError] for
// everything wrong with them.
func NewTable(tenants []*Tenant) (*Table, error) {
	t := &Table{tenants: tenants, byID: make(map[string]*Tenant), prefixes: make(map[netip.Prefix]*rule)}
	var errs []error
	for i, tn := range tenants {
		if err := tn.Check(); err != nil {
			errs = append(errs, &RuleError{i, -1, err})
			continue
		}
		if t.byID[tn.ID] != nil {
			errs = append(errs, &RuleError{i, -1, fmt.Errorf("tenant %q stands here twice", tn.ID)})
			continue
		}
		t.byID[tn.ID] = tn
		for j, text := range tn.SANs {
			r, err := parseRule(text, tn)
			if err == nil {
				err = t.add(&r)
			}
			if err != nil {
				errs = append(errs, &RuleError{i, j, err})
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// Tenants returns the entries in configured order. Not to be changed.
func (t *Table) Tenants() []*Tenant { return t.tenants }

// ByID returns the tenant configured under a literal id, or nil.
func (t *Table) ByID(id string) *Tenant { return t.byID[id] }

// add puts a rule into the table unless another tenant's rule could match the
// same name.
func (t *Table) add(r *rule) error {
	if r.kind == pki.IP {
		return t.addPrefix(r)
	}
	root := &t.roots[r.kind]
	if other := overlap(root, r.segments, r.tenant); other != nil {
		return overlapError(r, other)
	}
	n := root
	for _, s := range r.segments {
		switch {
		case s == rest:
			n.rest = r
			return nil
		case s == star:
			n = child(&n.star)
		case strings.HasPrefix(s, capture):
			n = child(&n.capture)
		default:
			if n.literal == nil {
				n.literal = make(map[string]*node)
			}
			if n.literal[s] == nil {
				n.literal[s] = new(node)
			}
			n = n.literal[s]
		}
	}
	n.end = r
	return nil
}

func child(n **node) *node {
	if *n == nil {
		*n = new(node)
	}
	return *n
}

func overlapError(r, other *rule) error {
	return fmt.Errorf("SAN rule %q of tenant %s and %q of tenant %s can match the same name; make one of them narrower",
		r.text, r.tenant.ID, other.text, other.tenant.ID)
}

// overlap returns a rule of another tenant below n that can match a name the
// pattern matches too, or nil.
func overlap(n *node, pattern []string, t *Tenant) *rule {
	if n == nil {
		return nil
	}
	if n.rest != nil && n.rest.tenant != t && len(pattern) > 0 {
		return n.rest
	}
	if len(pattern) == 0 {
		if n.end != nil && n.end.tenant != t {
			return n.end
		}
		return nil
	}
	s := pattern[0]
	if s == rest {
		return otherBelow(n, t)
	}
	for _, next := range []*node{n.star, n.capture} {
		if r := overlap(next, pattern[1:], t); r != nil {
			return r
		}
	}
	if s != star && !strings.HasPrefix(s, capture) {
		return overlap(n.literal[s], pattern[1:], t)
	}
	for _, next := range n.literal {
		if r := overlap(next, pattern[1:], t); r != nil {
			return r
		}
	}
	return nil
}

// otherBelow returns any rule of another tenant that needs one segment or more
// from n.
func otherBelow(n *node, t *Tenant) *rule {
	if n.rest != nil && n.rest.tenant != t {
		return n.rest
	}
	next := []*node{n.star, n.capture}
	for _, l := range n.literal {
		next = append(next, l)
	}
	for _, c := range next {
		if c == nil {
			continue
		}
		if c.end != nil && c.end.tenant != t {
			return c.end
		}
		if r := otherBelow(c, t); r != nil {
			return r
		}
	}
	return nil
}

func (t *Table) addPrefix(r *rule) error {
	code := lengthCode(r.prefix)
	longer := false
	for _, l := range t.lengths {
		if l/v6 != code/v6 {
			continue
		}
		longer = longer || l > code
		if around, err := r.prefix.Addr().Prefix(l % v6); err == nil && l <= code {
			if other := t.prefixes[around]; other != nil && other.tenant != r.tenant {
				return overlapError(r, other)
			}
		}
	}
	for p, other := range t.prefixes {
		if !longer {
			break
		}
		if other.tenant != r.tenant && r.prefix.Overlaps(p) {
			return overlapError(r, other)
		}
	}
	t.prefixes[r.prefix] = r
	if !slices.Contains(t.lengths, code) {
		t.lengths = append(t.lengths, code)
	}
	return nil
}

// v6 is added to the length of an IPv6 prefix, to tell it from an IPv4 one.
const v6 = 1000

func lengthCode(p netip.Prefix) int {
	if p.Addr().Is4() {
		return p.Bits()
	}
	return v6 + p.Bits()
}
