package server

import (
	"net"
	"net/netip"
	"sync"
)

// maxAddresses bounds the addresses that are remembered.
const maxAddresses = 8192

// addresses remembers from where the last handshake was a good one: there the
// next one is expected to be, and may cost less. Safe for concurrent use.
type addresses struct {
	mu   sync.RWMutex
	good map[netip.Addr]struct{}
}

func addressOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}

func (a *addresses) expected(addr netip.Addr) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	_, ok := a.good[addr]
	return ok
}

func (a *addresses) note(addr netip.Addr, good bool) {
	if !addr.IsValid() || a.expected(addr) == good {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !good {
		delete(a.good, addr)
		return
	}
	if a.good == nil {
		a.good = make(map[netip.Addr]struct{})
	}
	for other := range a.good {
		if len(a.good) < maxAddresses {
			break
		}
		delete(a.good, other)
	}
	a.good[addr] = struct{}{}
}
