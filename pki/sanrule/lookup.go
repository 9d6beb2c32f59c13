package sanrule

import (
	"strings"

	"github.com/sangate/sangate/pki"
)

// A Match is what a name was found by. Captured is what the rule's capture stood
// for, if it has one.
type Match[V comparable] struct {
	Value    V
	Rule     string
	Captured string
}

// Lookup returns the match of one name. Rules of two values never match one
// name, so the first match is the only one that matters. Does not allocate.
func (t *Set[V]) Lookup(san pki.SAN) (m Match[V], ok bool) {
	var r *entry[V]
	switch san.Type {
	case pki.IP:
		r = t.lookupIP(san)
	case pki.URI:
		r, m.Captured = walk(&t.roots[pki.URI], segments{text: san.Value, sep: '/'}, "")
	case pki.DNS:
		r, m.Captured = walk(&t.roots[pki.DNS], segments{text: san.Value, sep: '.', backwards: true}, "")
	case pki.Email:
		local, domain, _ := strings.Cut(san.Value, "@")
		r, m.Captured = walk(&t.roots[pki.Email], segments{text: domain, sep: '.', backwards: true, last: local}, "")
	}
	if r == nil {
		return m, false
	}
	m.Value, m.Rule = r.value, r.text
	return m, true
}

func (t *Set[V]) lookupIP(san pki.SAN) *entry[V] {
	for _, code := range t.lengths {
		if san.Addr.Is4() != (code < v6) {
			continue
		}
		if p, err := san.Addr.Prefix(code % v6); err == nil {
			if r := t.prefixes[p]; r != nil {
				return r
			}
		}
	}
	return nil
}

// segments yields the segments of a name without cutting it up first.
type segments struct {
	text      string
	sep       byte
	backwards bool
	last      string // one more segment after text: an e-mail's local part
	done      bool   // text is used up
}

func (p *segments) empty() bool { return p.done && p.last == "" }

func (p *segments) next() (segment string) {
	if p.done {
		segment, p.last = p.last, ""
		return segment
	}
	if p.backwards {
		i := strings.LastIndexByte(p.text, p.sep)
		segment = p.text[i+1:]
		p.done = i < 0
		p.text = p.text[:max(i, 0)]
		return segment
	}
	i := strings.IndexByte(p.text, p.sep)
	if i < 0 {
		p.done = true
		return p.text
	}
	segment, p.text = p.text[:i], p.text[i+1:]
	return segment
}

// walk matches the segments left in p below n; p is passed by value, so that
// each branch goes on from where it began.
func walk[V comparable](n *node[V], p segments, captured string) (*entry[V], string) {
	if p.empty() {
		return n.end, captured
	}
	whole := p
	segment := p.next()
	if next := n.literal[segment]; next != nil {
		if r, c := walk(next, p, captured); r != nil {
			return r, c
		}
	}
	if n.star != nil {
		if r, c := walk(n.star, p, captured); r != nil {
			return r, c
		}
	}
	if n.capture != nil {
		if r, c := walk(n.capture, p, segment); r != nil {
			return r, c
		}
	}
	if n.rest != nil && !whole.empty() {
		return n.rest, captured
	}
	return nil, ""
}
