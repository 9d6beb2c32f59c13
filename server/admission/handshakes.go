package admission

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Handshakes bounds the handshakes in flight. When none is free, those whose
// client has not answered for a while are dropped, and whoever waits comes in by
// address: the address that holds fewest slots first.
type Handshakes struct {
	max, perAddress int
	stall           time.Duration

	mu      sync.Mutex
	slots   map[*Slot]struct{}
	holds   map[netip.Prefix]int
	waiting []*waiter // the oldest first
}

// A Slot is what a handshake holds.
type Slot struct {
	of      *Handshakes
	address netip.Prefix
	drop    func()
	since   atomic.Int64 // time since which its client is waited for, Unix ns; 0: the server works
	dropped bool         // under of.mu
}

type waiter struct {
	address netip.Prefix
	slot    *Slot
	granted chan struct{} // closed when slot is in
}

// NewHandshakes makes one. stall is how long a client may keep a handshake waiting
// while others wait for its slot.
func NewHandshakes(max, perAddress int, stall time.Duration) *Handshakes {
	return &Handshakes{max: max, perAddress: perAddress, stall: stall, slots: make(map[*Slot]struct{}), holds: make(map[netip.Prefix]int)}
}

// Acquire waits for a slot until ctx ends. drop is called at most once, and must
// neither block nor call into h.
func (h *Handshakes) Acquire(ctx context.Context, address netip.Prefix, drop func()) (*Slot, bool) {
	w := &waiter{address: address, slot: &Slot{of: h, address: address, drop: drop}, granted: make(chan struct{})}
	h.mu.Lock()
	h.waiting = append(h.waiting, w)
	h.grant()
	h.dropStalled()
	h.mu.Unlock()
	tick := time.NewTicker(h.stall / 4)
	defer tick.Stop()
	for {
		select {
		case <-w.granted:
			return w.slot, true
		case <-tick.C:
			h.mu.Lock()
			h.dropStalled()
			h.mu.Unlock()
		case <-ctx.Done():
			return nil, h.giveUp(w)
		}
	}
}

// giveUp ends the wait of w. It always returns false.
func (h *Handshakes) giveUp(w *waiter) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, other := range h.waiting {
		if other == w {
			h.waiting = append(h.waiting[:i], h.waiting[i+1:]...)
			return false
		}
	}
	h.free(w.slot) // it was granted at the same moment
	return false
}

// Release gives the slot back, and reports whether the handshake was dropped.
func (s *Slot) Release() (dropped bool) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.free(s)
	return s.dropped
}

// Waits notes that the server waits for the client from now on, or, with the zero
// time, that it no longer does.
func (s *Slot) Waits(now time.Time) {
	if now.IsZero() {
		s.since.Store(0)
		return
	}
	s.since.Store(now.UnixNano())
}

// free removes a slot and lets the next in. Callers hold mu.
func (h *Handshakes) free(s *Slot) {
	if _, ok := h.slots[s]; !ok {
		return
	}
	delete(h.slots, s)
	if h.holds[s.address]--; h.holds[s.address] == 0 {
		delete(h.holds, s.address)
	}
	h.grant()
}

// grant gives free slots to those who wait, by what their address holds. Callers
// hold mu.
func (h *Handshakes) grant() {
	for len(h.slots) < h.max {
		best := -1
		for i, w := range h.waiting {
			n := h.holds[w.address]
			if n < h.perAddress && (best < 0 || n < h.holds[h.waiting[best].address]) {
				best = i
			}
			if best >= 0 && h.holds[h.waiting[best].address] == 0 {
				break // nobody holds fewer
			}
		}
		if best < 0 {
			return
		}
		w := h.waiting[best]
		h.waiting = append(h.waiting[:best], h.waiting[best+1:]...)
		h.slots[w.slot] = struct{}{}
		h.holds[w.address]++
		close(w.granted)
	}
}

// dropStalled drops as many stalled handshakes as there are waiters, those of the
// addresses that hold most first. Callers hold mu.
func (h *Handshakes) dropStalled() {
	limit := time.Now().Add(-h.stall).UnixNano()
	for range len(h.waiting) {
		var victim *Slot
		for s := range h.slots {
			since := s.since.Load()
			if since == 0 || since > limit {
				continue
			}
			if victim == nil || h.holds[s.address] > h.holds[victim.address] ||
				h.holds[s.address] == h.holds[victim.address] && since < victim.since.Load() {
				victim = s
			}
		}
		if victim == nil {
			return
		}
		victim.dropped = true
		victim.drop()
		h.free(victim)
	}
}
