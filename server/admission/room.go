// Package admission decides which connections keep a place before and after
// their client is authenticated.
//
// A [Room] holds connections that may be dropped: when it is full, the address
// that holds most loses its oldest one, so new clients always get in. [Handshakes]
// bounds handshakes in flight and [Shares] bounds the connections of each tenant
// and identity. Nothing here starts a goroutine. All types are safe for concurrent
// use.
package admission

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
)

// A Reason says why a connection was dropped. Reasons are metric labels.
type Reason string

// The reasons.
const (
	SilentFull     Reason = "silent_full"     // too many connections without a ClientHello
	SilentAddress  Reason = "silent_address"  // too many of those from one address
	SilentTimeout  Reason = "silent_timeout"  // no ClientHello in time
	HandshakeStall Reason = "handshake_stall" // did not answer while others waited for a handshake
	HandshakeFull  Reason = "handshake_full"  // got no handshake slot in time
	TenantShare    Reason = "tenant_share"    // the tenant's share of the connections is used up
	IdentityShare  Reason = "identity_share"  // the identity's share is used up
	TotalFull      Reason = "total_full"      // all connections are in use
	AdminFull      Reason = "admin_full"      // too many connections to the admin listener
	Stalled        Reason = "stalled"         // the client took nothing of its answers
)

// Reasons lists all reasons.
func Reasons() []Reason {
	return []Reason{SilentFull, SilentAddress, SilentTimeout, HandshakeStall, HandshakeFull, TenantShare, IdentityShare, TotalFull, AdminFull, Stalled}
}

// AddressOf returns the prefix that a connection is counted under: the IPv4
// address, or the /64 of an IPv6 address. Connections of other networks share the
// zero prefix.
func AddressOf(c net.Conn) netip.Prefix {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// NetworkOf returns the network of an address of [AddressOf]: the /24 of an IPv4 address,
// or the /48 of an IPv6 one, which is what one holder commonly has.
func NetworkOf(address netip.Prefix) netip.Prefix {
	bits := 24
	if address.Addr().Is6() {
		bits = 48
	}
	p, err := address.Addr().Prefix(bits)
	if err != nil {
		return netip.Prefix{} // of connections of other kinds
	}
	return p
}

// A Room holds at most max connections, and at most perAddress of one address.
type Room struct {
	max, perAddress int

	mu       sync.Mutex
	held     int
	networks map[netip.Prefix]*network
	ranks    ranking // of networks
}

// A network holds the places of its addresses.
type network struct {
	prefix netip.Prefix
	held   int
	groups map[netip.Prefix]*group
	ranks  ranking       // of groups
	at     *list.Element // in the room's ranking
}

// A group holds the places of one address, the oldest in front.
type group struct {
	of      *network
	address netip.Prefix
	places  list.List
	at      *list.Element // in its network's ranking
}

// A Place is what a connection holds in a Room.
type Place struct {
	room    *Room
	group   *group
	at      *list.Element // in its group; nil: it left or was dropped
	drop    func()
	dropped Reason
}

// NewRoom makes a room.
func NewRoom(max, perAddress int) *Room {
	return &Room{max: max, perAddress: perAddress, networks: make(map[netip.Prefix]*network)}
}

// Enter takes a connection in and drops at most one other for it: the oldest of
// its address if that is over its cap, else, if the room is full, one of the network that
// holds most: the oldest of the address that holds most there. drop must not block and
// must not call into the room.
func (r *Room) Enter(address netip.Prefix, drop func()) *Place {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.group(address)
	p := &Place{room: r, group: g, drop: drop}
	p.at = g.places.PushBack(p)
	r.count(g, 1)
	switch {
	case g.places.Len() > r.perAddress:
		r.evict(g, SilentAddress)
	case r.held > r.max:
		r.evict(r.ranks.most().(*network).ranks.most().(*group), SilentFull)
	}
	return p
}

// group returns that of an address.
func (r *Room) group(address netip.Prefix) *group {
	prefix := NetworkOf(address)
	n := r.networks[prefix]
	if n == nil {
		n = &network{prefix: prefix, groups: make(map[netip.Prefix]*group)}
		r.networks[prefix] = n
	}
	g := n.groups[address]
	if g == nil {
		g = &group{of: n, address: address}
		n.groups[address] = g
	}
	return g
}

// Held returns how many connections are in the room.
func (r *Room) Held() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

// Touch makes the place the newest of its address.
func (p *Place) Touch() {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	if p.at != nil {
		p.group.places.MoveToBack(p.at)
	}
}

// Leave gives the place back. It returns why the connection was dropped before, or "".
func (p *Place) Leave() Reason {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	p.room.remove(p)
	return p.dropped
}

func (r *Room) evict(g *group, why Reason) {
	p := g.places.Front().Value.(*Place)
	r.remove(p)
	p.dropped = why
	p.drop()
}

func (r *Room) remove(p *Place) {
	if p.at == nil {
		return
	}
	p.group.places.Remove(p.at)
	p.at = nil
	r.count(p.group, -1)
}

// count notes that a group holds one place more or, with -1, less.
func (r *Room) count(g *group, by int) {
	n, has := g.of, g.places.Len()
	g.at = n.ranks.move(g.at, g, has-by, has)
	n.at = r.ranks.move(n.at, n, n.held, n.held+by)
	n.held += by
	r.held += by
	if has == 0 {
		delete(n.groups, g.address)
	}
	if n.held == 0 {
		delete(r.networks, n.prefix)
	}
}
