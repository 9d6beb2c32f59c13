package admission

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Handshakes bounds the handshakes in flight. When none is free, handshakes that
// have waited too long for their client in total are dropped, however often it sent
// something. Free slots go to the network that holds fewest, of its addresses to the one
// that holds fewest, and there to the oldest waiter: whoever has many addresses mostly has
// them in one network. Networks that a client was accepted from before come first
// while they hold few slots, so that strangers of however many networks do not keep them out.
type Handshakes struct {
	max, perAddress, perNetwork int
	stall                       time.Duration

	mu        sync.Mutex
	slots     map[*Slot]struct{}
	addresses tallies
	networks  tallies
	accepted  recent    // networks
	waiting   []*waiter // the oldest first
	looked    time.Time // when stalled ones were last looked for
}

// A Slot is what a handshake holds.
type Slot struct {
	of *Handshakes
	origin
	drop    func()
	since   atomic.Int64 // time at which the current wait for its client began, Unix ns; 0: the server works
	waited  atomic.Int64 // total of the earlier waits, ns
	dropped bool         // under of.mu
}

type waiter struct {
	slot    *Slot
	granted chan struct{} // closed when slot is in
}

// NewHandshakes makes one. stall is the total time that a client may keep a
// handshake waiting while others wait for a slot. One network may have half of what
// perAddress leaves to others, too.
func NewHandshakes(max, perAddress int, stall time.Duration) *Handshakes {
	return &Handshakes{max: max, perAddress: perAddress, perNetwork: perAddress + (max-perAddress+1)/2, stall: stall,
		slots: make(map[*Slot]struct{}), addresses: make(tallies), networks: make(tallies)}
}

// Acquire waits for a slot until ctx ends. drop is called at most once, and must
// neither block nor call into h.
func (h *Handshakes) Acquire(ctx context.Context, address netip.Prefix, drop func()) (*Slot, bool) {
	h.mu.Lock()
	w := &waiter{slot: &Slot{of: h, origin: h.enter(address), drop: drop}, granted: make(chan struct{})}
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
			if time.Since(h.looked) >= h.stall/16 { // not each of a thousand that wait
				h.dropStalled()
			}
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
			h.leave(w.slot.origin)
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
	s.hold(-1)
	h.leave(s.origin)
	h.grant()
}

// Accepted notes that a client of the address has proved who it is.
func (h *Handshakes) Accepted(address netip.Prefix) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.accepted.add(NetworkOf(address))
}

// grant gives free slots to those who wait, by what their network and address hold. The
// last ones are for those who come first. Callers hold mu.
func (h *Handshakes) grant() {
	for len(h.slots) < h.max {
		reserved := len(h.slots) >= h.max-h.few()
		best := -1
		for i, w := range h.waiting {
			o := w.slot.origin
			if o.inAddress.held < h.perAddress && o.inNet.held < h.perNetwork && (h.first(o) || !reserved) &&
				(best < 0 || h.compare(o, h.waiting[best].slot.origin) < 0) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		w := h.waiting[best]
		h.waiting = append(h.waiting[:best], h.waiting[best+1:]...)
		h.slots[w.slot] = struct{}{}
		w.slot.hold(1)
		close(w.granted)
	}
}

// dropStalled drops as many stalled handshakes as there are waiters: those of the networks
// and addresses that hold most first, then those that stalled for longest; none of a
// network that holds fewer than those of all who wait. Callers hold mu.
func (h *Handshakes) dropStalled() {
	h.looked = time.Now()
	now := h.looked.UnixNano()
	for range len(h.waiting) {
		var victim *Slot
		var longest time.Duration
		for s := range h.slots {
			stalled := s.stalled(now)
			if stalled < h.stall {
				continue
			}
			if victim == nil || cmp.Or(h.compare(s.origin, victim.origin), cmp.Compare(stalled, longest)) > 0 {
				victim, longest = s, stalled
			}
		}
		if victim == nil || !slices.ContainsFunc(h.waiting, func(w *waiter) bool {
			return h.compareNetworks(w.slot.origin, victim.origin) <= 0
		}) {
			return
		}
		victim.dropped = true
		victim.drop()
		h.free(victim)
	}
}
