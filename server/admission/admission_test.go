package admission_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/admission"
)

// address returns an address in a network of its own.
func address(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 32)
}

// A flood of one address drops only that address's connections, the oldest first;
// the newest always has a place.
//
// Holds: stranger/silent-connections
func TestFloodDropsItsOwnOldest(t *testing.T) {
	r := admission.NewRoom(100, 40)
	var good bool
	r.Enter(address(1), func() { good = true })
	var gone []int
	for i := range 1000 {
		r.Enter(address(2), func() { gone = append(gone, i) })
	}
	if good {
		t.Error("the connection of another address was dropped")
	}
	if len(gone) != 960 || gone[0] != 0 || gone[959] != 959 {
		t.Errorf("%d dropped, want 960, the oldest first", len(gone))
	}
	if got := r.Held(); got != 41 {
		t.Errorf("%d held, want 41", got)
	}
}

// A full room takes from the address that holds most, and from the oldest where all
// hold the same.
func TestFullRoomDropsTheLargest(t *testing.T) {
	r := admission.NewRoom(100, 100)
	var gone []string
	enter := func(a int) *admission.Place {
		return r.Enter(address(a), func() { gone = append(gone, fmt.Sprint(a)) })
	}
	pair := []*admission.Place{enter(1), enter(1)}
	for a := range 98 {
		enter(1000 + a)
	}
	enter(7)
	if len(gone) != 1 || gone[0] != "1" {
		t.Fatalf("dropped %v, want one of address 1", gone)
	}
	if why := pair[0].Leave(); why != admission.SilentFull {
		t.Errorf("reason %q, want silent_full", why)
	}
	if why := pair[1].Leave(); why != "" {
		t.Errorf("reason %q of one that left by itself", why)
	}
	enter(8) // in the place that became free
	enter(9)
	if len(gone) != 2 || gone[1] != "1000" {
		t.Errorf("dropped %v, want the oldest", gone)
	}
	if got := r.Held(); got != 100 {
		t.Errorf("%d held, want 100", got)
	}
}

// Handshakes that wait for their client are dropped for others after the stall
// limit, those that the server works on are not.
//
// Holds: stranger/stalled-handshakes
func TestStalledHandshakeMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := admission.NewHandshakes(2, 2, time.Second)
		dropped := 0
		stalled, _ := h.Acquire(t.Context(), address(1), func() { dropped++ })
		working, _ := h.Acquire(t.Context(), address(1), func() { t.Error("one that the server works on was dropped") })
		stalled.Waits(time.Now())
		begun := time.Now()
		if _, ok := h.Acquire(t.Context(), address(2), func() {}); !ok {
			t.Fatal("no slot")
		}
		if took := time.Since(begun); took < time.Second || took > 2*time.Second || dropped != 1 {
			t.Errorf("a slot after %v with %d dropped, want one dropped after 1s", took, dropped)
		}
		if !stalled.Release() || working.Release() {
			t.Error("Release does not tell the dropped one from the other")
		}
	})
}

// A client that sends a little again and again gives way like a silent one, and the
// one that has kept the server waiting for longest goes first. Time that the server
// works for a client does not count.
//
// Holds: stranger/trickled-handshakes
func TestTrickledHandshakeMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := admission.NewHandshakes(3, 3, time.Second)
		var gone []string
		acquire := func(name string) *admission.Slot {
			s, _ := h.Acquire(t.Context(), address(1), func() { gone = append(gone, name) })
			return s
		}
		costly, late, early := acquire("costly"), acquire("late"), acquire("early")
		early.Waits(time.Now())
		time.Sleep(400 * time.Millisecond)
		late.Waits(time.Now())
		costly.Waits(time.Now())
		for range 5 { // one byte every 400 ms from both
			early.Works(time.Now())
			early.Waits(time.Now())
			late.Works(time.Now())
			late.Waits(time.Now())
			costly.Works(time.Now())
			time.Sleep(400 * time.Millisecond)
			costly.Waits(time.Now())
		}
		begun := time.Now()
		for i := range 2 {
			if _, ok := h.Acquire(t.Context(), address(2+i), func() {}); !ok {
				t.Fatal("no slot")
			}
		}
		if took := time.Since(begun); took > 0 || fmt.Sprint(gone) != "[early late]" {
			t.Errorf("dropped %v after %v, want early and then late at once", gone, took)
		}
	})
}

// One address cannot take every slot, and who gives up waiting leaves nothing behind.
func TestHandshakeSlotsByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := admission.NewHandshakes(4, 3, time.Second)
		for range 3 {
			if _, ok := h.Acquire(t.Context(), address(1), func() {}); !ok {
				t.Fatal("no slot")
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, ok := h.Acquire(ctx, address(1), func() {}); ok {
			t.Error("a fourth slot for one address")
		}
		if _, ok := h.Acquire(t.Context(), address(2), func() {}); !ok {
			t.Error("no slot for another address")
		}
	})
}

// A ClientHello has a limit to its first byte, and from there to its last.
//
// Holds: stranger/half-sent-hello
func TestTrickledHelloTimesOut(t *testing.T) {
	for name, send := range map[string]string{"silent": "", "one byte": "\x16", "half": "\x16\x03\x01\x02\x00ab"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				defer server.Close()
				var sending sync.WaitGroup
				sending.Go(func() {
					for i := range len(send) {
						time.Sleep(100 * time.Millisecond)
						_, _ = client.Write([]byte{send[i]}) // ends with the pipe
					}
					for i := 0; send != "" && i < 100; i++ { // and goes on trickling
						time.Sleep(time.Second)
						if _, err := client.Write([]byte{'x'}); err != nil {
							return
						}
					}
				})
				begun := time.Now()
				_, err := admission.ReadHello(server, 2*time.Second)
				if took := time.Since(begun); err == nil || took > 4*time.Second {
					t.Errorf("%v after %v, want a timeout within 4s", err, took)
				}
				_ = server.Close()
				sending.Wait()
			})
		})
	}
}

// The record is returned as it came, nothing after it is read, and what is no
// handshake is returned at once.
func TestReadHello(t *testing.T) {
	for _, tt := range []struct{ sent, want string }{
		{"\x16\x03\x01\x00\x03abcrest", "\x16\x03\x01\x00\x03abc"},
		{"GET / HTTP/1.1\r\n", "GET /"},
	} {
		client, server := net.Pipe()
		go func() { _, _ = client.Write([]byte(tt.sent)) }() // ends with the pipe
		if got, err := admission.ReadHello(server, time.Minute); string(got) != tt.want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", tt.sent, got, err, tt.want)
		}
		_ = client.Close()
		_ = server.Close()
	}
}
