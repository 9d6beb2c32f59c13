package admission

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Handshakes bounds the handshakes in flight. When none is free, handshakes that
// have waited too long for their client in total are dropped, however often it sent
// something. Free slots go to the address that holds fewest, the oldest waiter first.
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
	since   atomic.Int64 // time at which the current wait for its client began, Unix ns; 0: the server works
	waited  atomic.Int64 // total of the earlier waits, ns
	dropped bool         // under of.mu
}

type waiter struct {
	address netip.Prefix
	slot    *Slot
	granted chan struct{} // closed when slot is in
}

// NewHandshakes makes one. stall is the total time that a client may keep a
// handshake waiting while others wait for a slot.
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

// Waits notes that the server waits for the client from now on.
func (s *Slot) Waits(now time.Time) { s.since.Store(now.UnixNano()) }

// Works notes that a wait that [Slot.Waits] began has ended.
func (s *Slot) Works(now time.Time) {
	s.waited.Add(now.UnixNano() - s.since.Swap(0))
}

// stalled returns how long the client of s has kept the server waiting in total;
// 0 if the server is working.
func (s *Slot) stalled(now int64) time.Duration {
	since := s.since.Load()
	if since == 0 {
		return 0
	}
	return time.Duration(s.waited.Load() + now - since)
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

// dropStalled drops as many stalled handshakes as there are waiters: those of the
// addresses that hold most first, then those that stalled for longest. Callers hold mu.
func (h *Handshakes) dropStalled() {
	now := time.Now().UnixNano()
	for range len(h.waiting) {
		var victim *Slot
		var longest time.Duration
		for s := range h.slots {
			stalled := s.stalled(now)
			if stalled < h.stall {
				continue
			}
			if victim == nil || h.holds[s.address] > h.holds[victim.address] ||
				h.holds[s.address] == h.holds[victim.address] && stalled > longest {
				victim, longest = s, stalled
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
