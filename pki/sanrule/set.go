// Package sanrule matches names in certificates against rules such as
// uri:spiffe://example.org/tenant/acme/* or dns:*.agents.example.org.
//
// A [Set] gives each rule a value. Rules of two values never match one name:
// the second is refused, so a look-up has one answer. A look-up walks the
// name's segments through a trie, does not grow with the rules and does not
// allocate.
package sanrule

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/sangate/sangate/pki"
)

// A Set maps names to values by rules. It must not be changed while it is
// looked up in.
type Set[V comparable] struct {
	roots    [pki.IP]node[V] // by kind; IP has its own
	prefixes map[netip.Prefix]*entry[V]
	lengths  []int // of the prefixes in use, see lengthCode
}

// An entry is a rule in a set.
type entry[V comparable] struct {
	Rule
	value V
}

// An OverlapError says that two rules of different values can match one name.
type OverlapError[V comparable] struct {
	Rule, Other   Rule
	Value, Before V
}

func (e *OverlapError[V]) Error() string {
	return fmt.Sprintf("SAN rules %q and %q can match the same name", e.Rule, e.Other)
}

// A node is one place in the trie of segments. At most one rule ends here in
// each way.
type node[V comparable] struct {
	literal map[string]*node[V]
	star    *node[V]
	capture *node[V]
	end     *entry[V]
	rest    *entry[V] // by "**": one or more segments from here
}

// Add puts a rule into the set. It returns an [*OverlapError] where a rule of
// another value could match the same name.
func (t *Set[V]) Add(rule Rule, value V) error {
	r := &entry[V]{rule, value}
	if r.kind == pki.IP {
		return t.addPrefix(r)
	}
	root := &t.roots[r.kind]
	if other := overlap(root, r.segments, r.value); other != nil {
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
		case isCapture(s):
			n = child(&n.capture)
		default:
			if n.literal == nil {
				n.literal = make(map[string]*node[V])
			}
			if n.literal[s] == nil {
				n.literal[s] = new(node[V])
			}
			n = n.literal[s]
		}
	}
	n.end = r
	return nil
}

func child[V comparable](n **node[V]) *node[V] {
	if *n == nil {
		*n = new(node[V])
	}
	return *n
}

func overlapError[V comparable](r, other *entry[V]) error {
	return &OverlapError[V]{r.Rule, other.Rule, r.value, other.value}
}

// overlap returns a rule of another value below n that can match a name the
// pattern matches too, or nil.
func overlap[V comparable](n *node[V], pattern []string, value V) *entry[V] {
	if n == nil {
		return nil
	}
	if n.rest != nil && n.rest.value != value && len(pattern) > 0 {
		return n.rest
	}
	if len(pattern) == 0 {
		if n.end != nil && n.end.value != value {
			return n.end
		}
		return nil
	}
	s := pattern[0]
	if s == rest {
		return otherBelow(n, value)
	}
	for _, next := range []*node[V]{n.star, n.capture} {
		if r := overlap(next, pattern[1:], value); r != nil {
			return r
		}
	}
	if s != star && !isCapture(s) {
		return overlap(n.literal[s], pattern[1:], value)
	}
	for _, next := range n.literal {
		if r := overlap(next, pattern[1:], value); r != nil {
			return r
		}
	}
	return nil
}

// otherBelow returns any rule of another value that needs one segment or more
// from n.
func otherBelow[V comparable](n *node[V], value V) *entry[V] {
	if n.rest != nil && n.rest.value != value {
		return n.rest
	}
	next := []*node[V]{n.star, n.capture}
	for _, l := range n.literal {
		next = append(next, l)
	}
	for _, c := range next {
		if c == nil {
			continue
		}
		if c.end != nil && c.end.value != value {
			return c.end
		}
		if r := otherBelow(c, value); r != nil {
			return r
		}
	}
	return nil
}

func (t *Set[V]) addPrefix(r *entry[V]) error {
	code := lengthCode(r.prefix)
	longer := false
	for _, l := range t.lengths {
		if l/v6 != code/v6 {
			continue
		}
		longer = longer || l > code
		if around, err := r.prefix.Addr().Prefix(l % v6); err == nil && l <= code {
			if other := t.prefixes[around]; other != nil && other.value != r.value {
				return overlapError(r, other)
			}
		}
	}
	for p, other := range t.prefixes {
		if !longer {
			break
		}
		if other.value != r.value && r.prefix.Overlaps(p) {
			return overlapError(r, other)
		}
	}
	if t.prefixes == nil {
		t.prefixes = make(map[netip.Prefix]*entry[V])
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
