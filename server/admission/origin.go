package admission

import (
	"cmp"
	"net/netip"
)

// An origin is the address of a client with what it and its network hold.
type origin struct {
	address          netip.Prefix
	inAddress, inNet *tally
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
	return origin{address, h.addresses.enter(address), h.networks.enter(NetworkOf(address))}
}

// leave notes that one less is. Callers hold mu.
func (h *Handshakes) leave(o origin) {
	h.addresses.leave(o.address)
	h.networks.leave(NetworkOf(o.address))
}

// hold counts n slots more or, if n is negative, fewer.
func (o origin) hold(n int) {
	o.inAddress.held += n
	o.inNet.held += n
}

// compare compares what the networks hold, and then what the addresses do.
func (o origin) compare(other origin) int {
	return cmp.Or(cmp.Compare(o.inNet.held, other.inNet.held), cmp.Compare(o.inAddress.held, other.inAddress.held))
}
