package admission_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/admission"
)

// crowded returns the /64 n of one /48.
func crowded(n int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:1:%x::/64", n))
}

// Many addresses of one network displace each other's connections, and none of a client
// elsewhere that has a few.
//
// Holds: stranger/networks
func TestNetworkDropsItsOwn(t *testing.T) {
	r := admission.NewRoom(100, 40)
	for range 3 {
		r.Enter(address(1), func() { t.Error("a connection of another network was dropped") })
	}
	var gone []int
	for i := range 1000 {
		r.Enter(crowded(i), func() { gone = append(gone, i) })
	}
	if len(gone) != 903 || gone[0] != 0 || gone[902] != 902 {
		t.Errorf("%d dropped, want 903, the oldest first", len(gone))
	}
	if got := r.Held(); got != 100 {
		t.Errorf("%d held, want 100", got)
	}
}

// Many addresses of one network do not have all slots, and a client elsewhere does not
// wait behind them, nor gives way to them.
//
// Holds: stranger/networks
func TestHandshakeSlotsByNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := admission.NewHandshakes(8, 4, time.Second)
		var dropped atomic.Int32
		acquire := func(from netip.Prefix, drop func()) *admission.Slot {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			s, _ := h.Acquire(ctx, from, drop)
			return s
		}
		crowd := make([]*admission.Slot, 6)
		for i := range crowd {
			crowd[i] = acquire(crowded(i), func() { dropped.Add(1) })
		}
		if acquire(crowded(6), func() {}) != nil {
			t.Fatal("a seventh of eight slots for one network")
		}
		good := acquire(address(1), func() { t.Error("the client of another network was dropped") })
		acquire(address(2), func() {})
		order := make(chan string, 8)
		wait := func(name string, from netip.Prefix) {
			go func() {
				if acquire(from, func() {}) != nil {
					order <- name
				}
			}()
			synctest.Wait()
		}
		good.Waits(time.Now())
		time.Sleep(2 * time.Second)
		for i := range 6 {
			wait("crowd", crowded(10+i)) // for none of which the good one gives way
		}
		good.Works(time.Now())
		wait("other", address(3))
		crowd[5].Release()
		if first := <-order; first != "other" {
			t.Errorf("the free slot went to %s, want the client of another network", first)
		}
		for _, s := range crowd[:3] {
			s.Waits(time.Now())
		}
		time.Sleep(2 * time.Second)
		if dropped.Load() != 3 || len(order) != 3 {
			t.Errorf("%d stalled handshakes of the network made room for %d, want 3", dropped.Load(), len(order))
		}
	})
}

// Strangers of however many networks keep no client out whose network had one accepted
// before: it has a slot at once, and it is not the first to give way.
//
// Holds: stranger/returning-networks
func TestAcceptedNetworksComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := admission.NewHandshakes(32, 24, time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		h.Accepted(address(1))
		var gone atomic.Int32
		granted := make(chan *admission.Slot, 1000)
		for i := range 1000 { // each says hello, and nothing more
			go func() {
				if s, ok := h.Acquire(ctx, address(100+i), func() { gone.Add(1) }); ok {
					s.Waits(time.Now())
					granted <- s
				}
			}()
		}
		synctest.Wait()
		if n := len(granted); n != 30 {
			t.Errorf("strangers have %d of 32 slots, want 30", n)
		}
		begun := time.Now()
		for range 2 {
			s, ok := h.Acquire(ctx, address(1), func() { t.Error("the client was dropped for strangers") })
			if !ok || time.Since(begun) > 0 {
				t.Fatalf("a slot: %t, after %v", ok, time.Since(begun))
			}
			s.Waits(time.Now())
		}
		third := make(chan bool, 1)
		go func() { // is one of many
			_, ok := h.Acquire(ctx, address(1), func() {})
			third <- ok
		}()
		synctest.Wait()
		if len(third) > 0 {
			t.Error("the network has more slots ahead of others than are for it")
		}
		time.Sleep(2 * time.Second)
		if gone.Load() < 30 {
			t.Errorf("%d strangers gave way, want 30 and more", gone.Load())
		}
	})
}
