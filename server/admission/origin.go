package admission

import (
	"cmp"
	"net/netip"
)

// An origin is the address of a client with what it and its network hold.
type origin struct {
	address          netip.Prefix
	inAddress, inNet *tally
	own              int  // of what they hold
	accepted         bool // a client of its network was
}

// A tally is how many slots an address or network holds.
type tally struct {
	held int
	used int // by slots and waiters
}

// tallies are those of addresses, or of networks.
type tallies map[netip.Prefix]*tally

func (t tallies) enter(p netip.Prefix) *tally {
	of := t[p]
	if of == nil {
		of = new(tally)
		t[p] = of
	}
	of.used++
	return of
}

func (t tallies) leave(p netip.Prefix) {
	if t[p].used--; t[p].used == 0 {
		delete(t, p)
	}
}

// enter notes that one more slot or waiter is of the address. Callers hold mu.
func (h *Handshakes) enter(address netip.Prefix) origin {
	network := NetworkOf(address)
	return origin{address: address, inAddress: h.addresses.enter(address), inNet: h.networks.enter(network),
		accepted: h.accepted.has[network]}
}

// leave notes that one less is. Callers hold mu.
func (h *Handshakes) leave(o origin) {
	h.addresses.leave(o.address)
	h.networks.leave(NetworkOf(o.address))
}

// hold counts n slots more or, if n is negative, fewer.
func (o *origin) hold(n int) {
	o.inAddress.held += n
	o.inNet.held += n
	o.own += n
}

// few is how many slots a network that comes first may have as such, and how many are for
// those networks alone.
func (h *Handshakes) few() int { return h.max / 16 }

// first reports whether a slot is had or waited for by a network that comes first.
func (h *Handshakes) first(o origin) bool { return o.accepted && o.inNet.held-o.own < h.few() }

// compare says which of two origins comes before the other: by their networks, and then by
// what their addresses hold.
func (h *Handshakes) compare(a, b origin) int {
	return cmp.Or(h.compareNetworks(a, b), cmp.Compare(a.inAddress.held, b.inAddress.held))
}

func (h *Handshakes) compareNetworks(a, b origin) int {
	if first := h.first(a); first != h.first(b) {
		if first {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.inNet.held, b.inNet.held)
}

// maxRecent bounds the networks that are remembered.
const maxRecent = 4096

// recent are the last networks that were noted. The zero recent has none.
type recent struct {
	has   map[netip.Prefix]bool
	order []netip.Prefix // a ring
	next  int            // in it
}

func (r *recent) add(p netip.Prefix) {
	switch {
	case r.has[p]:
		return
	case r.has == nil:
		r.has = make(map[netip.Prefix]bool)
	}
	if len(r.order) < maxRecent {
		r.order = append(r.order, p)
	} else {
		delete(r.has, r.order[r.next])
		r.order[r.next] = p
		r.next = (r.next + 1) % maxRecent
	}
	r.has[p] = true
}
