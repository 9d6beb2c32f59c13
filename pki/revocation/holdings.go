package revocation

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Bounds of what one file or URL brings: lists of different issuers and scopes.
const (
	maxLists   = 64
	maxEntries = 4 * MaxCRLEntries // of all of them, when one more comes
)

// Holdings are the lists that a [Source] holds at one time. They are immutable.
type Holdings struct {
	Lists   []*CRL   // in force, stale ones too
	Missing []string // files and URLs that no list is held of

	own      map[string]*CRL // the list that a file or URL stands for, by its name
	required map[listKey]bool
	absent   map[issuerKey]bool // a file or URL stands for a list of theirs that is not held
}

func (h *Holdings) equal(o *Holdings) bool {
	return slices.Equal(h.Lists, o.Lists) && slices.Equal(h.Missing, o.Missing) && maps.Equal(h.own, o.own) &&
		maps.Equal(h.required, o.required) && maps.Equal(h.absent, o.absent)
}

// A Mark says which list is put in force, for what keeps track of them elsewhere.
type Mark struct {
	Issuer, Scope [32]byte // of its name and key; of what it is about
	Number        []byte   // big-endian; nil: it has none
	ThisUpdate    time.Time
}

func (c *CRL) mark() Mark {
	m := Mark{Issuer: c.id.issuer, Scope: c.id.scope, ThisUpdate: c.ThisUpdate}
	if c.Number != nil {
		m.Number = c.Number.Bytes()
	}
	return m
}

// hold puts a list in force that a file or URL served. It replaces the list of the same
// issuer and scope, wherever that came from, and no other. What cannot be put in force is
// an error.
func (s *Source) hold(it *item, next *CRL) (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.inForce[next.id]
	switch {
	case held == nil:
		if err := s.room(it, next); err != nil {
			return false, err
		}
	case held.sum == next.sum && held.Issuer.Equal(next.Issuer) && !held.outdated:
		s.serve(it, next.id)
		s.publish()
		return false, nil
	default:
		if err := next.replaces(held); err != nil {
			s.serve(it, next.id) // it stands for that list all the same
			s.publish()
			return false, err
		}
	}
	err = s.opts.Admit(next.mark())
	if next.outdated = err != nil; next.outdated && held != nil && !held.outdated {
		return false, err
	} // else it counts for those it revokes: that is better than none
	s.inForce[next.id] = next
	s.chains[next.id.issuer] = s.chainOf(next.Issuer)
	s.serve(it, next.id)
	s.publish()
	return true, err
}

// room returns an error if a place may not bring one more list. Lists that nobody who is
// let in can be on give way.
func (s *Source) room(it *item, next *CRL) error {
	count := func() (lists, entries int) {
		for key := range it.served {
			if c := s.inForce[key]; c != nil {
				lists, entries = lists+1, entries+c.Len()
			}
		}
		return lists, entries
	}
	full := func() bool {
		lists, entries := count()
		return lists >= maxLists || lists > 0 && entries+next.Len() > maxEntries
	}
	if !full() {
		return nil
	}
	for key := range it.served {
		if chain := s.chains[key.issuer]; s.inForce[key] != nil && !s.leads(chain) {
			delete(s.inForce, key) // its file stays
			s.pending = append(s.pending, s.listFile(key))
		}
	}
	s.dropChains()
	if !full() {
		return nil
	}
	lists, entries := count()
	return fmt.Errorf("%w: %d lists with %d entries of other issuers and scopes are held of it", errFull, lists, entries)
}

var errFull = errors.New("no room for one more list")

// takeOver begins with what another source holds.
func (s *Source) takeOver(before *Source) {
	before.mu.Lock()
	defer before.mu.Unlock()
	s.inForce, s.chains = maps.Clone(before.inForce), maps.Clone(before.chains)
	for _, it := range s.items {
		at := slices.IndexFunc(before.items, func(o *item) bool { return o.name == it.name })
		if at >= 0 {
			it.served = maps.Clone(before.items[at].served)
			it.unsaved = true
		}
	}
	for key, c := range s.inForce {
		if !slices.ContainsFunc(s.items, func(it *item) bool { return it.name == c.Name }) {
			renamed := *c
			renamed.Name = s.opts.Dir // what it came from is not configured any more
			s.inForce[key] = &renamed
		}
	}
}

// serve notes that a place serves lists of the key, after all that is noted so far.
func (s *Source) serve(it *item, key listKey) {
	if it.served[key] != 0 {
		return
	}
	last := 0
	for _, o := range s.items {
		for _, at := range o.served {
			last = max(last, at)
		}
	}
	it.served[key] = last + 1
	it.unsaved = true
}

// standsFor returns the key, by issuer, of the list that a place stands for: of those that
// it served before any other place did, the newest. A place that serves the list of
// another one goes on to stand for its own.
func (s *Source) standsFor(it *item) map[issuerKey]listKey {
	own := make(map[issuerKey]listKey)
	for key := range it.served {
		if held, found := own[key.issuer]; !found || s.prefers(it, key, held) {
			own[key.issuer] = key
		}
	}
	return own
}

func (s *Source) prefers(it *item, a, b listKey) bool {
	if first := s.first(it, a); first != s.first(it, b) {
		return first
	}
	one, other := s.inForce[a], s.inForce[b]
	if one == nil || other == nil {
		return one != nil || other == nil && it.served[a] > it.served[b]
	}
	if order := one.ThisUpdate.Compare(other.ThisUpdate); order != 0 {
		return order > 0
	}
	return it.served[a] > it.served[b]
}

// first reports whether no other place served lists of the key before it, but for those
// that have the same lists.
func (s *Source) first(it *item, key listKey) bool {
	same := s.copied(it, key.issuer)
	return !slices.ContainsFunc(s.items, func(o *item) bool {
		return o.served[key] != 0 && o.served[key] < it.served[key] && s.copied(o, key.issuer) != same
	})
}

// copied returns the place that a place has the lists of an issuer from: another one, if
// that had served the first of them before; then they change their scope together.
func (s *Source) copied(it *item, issuer issuerKey) *item {
	var earliest listKey
	at := 0
	for key, n := range it.served {
		if key.issuer == issuer && (at == 0 || n < at) {
			earliest, at = key, n
		}
	}
	from := it
	for _, o := range s.items {
		if n := o.served[earliest]; n != 0 && n < at {
			from, at = o, n
		}
	}
	if from == it {
		return it
	}
	return s.copied(from, issuer) // whose number is lower
}

// publish makes what changed visible to all. The caller holds s.mu.
func (s *Source) publish() {
	h := s.holdings()
	if before := s.current.Swap(h); !before.equal(h) {
		s.opts.Notify(h.Lists)
	}
}

func (s *Source) holdings() *Holdings {
	h := &Holdings{own: make(map[string]*CRL), required: make(map[listKey]bool), absent: make(map[issuerKey]bool)}
	for _, it := range s.items {
		for _, key := range s.standsFor(it) {
			c := s.inForce[key]
			if c == nil {
				h.absent[key.issuer] = true
				continue
			}
			h.required[key] = true
			if own := h.own[it.name]; own == nil || newer(c, own) < 0 {
				h.own[it.name] = c
			}
		}
		if own := h.own[it.name]; own == nil {
			h.Missing = append(h.Missing, it.name)
		} else if !slices.Contains(h.Lists, own) {
			h.Lists = append(h.Lists, own)
		}
	}
	for _, c := range slices.SortedFunc(maps.Values(s.inForce), newer) {
		if !slices.Contains(h.Lists, c) {
			h.Lists = append(h.Lists, c)
		}
	}
	return h
}

// newer orders lists from the newest to the oldest.
func newer(a, b *CRL) int {
	if order := b.ThisUpdate.Compare(a.ThisUpdate); order != 0 {
		return order
	}
	if order := bytes.Compare(a.id.issuer[:], b.id.issuer[:]); order != 0 {
		return order
	}
	return bytes.Compare(a.id.scope[:], b.id.scope[:])
}
