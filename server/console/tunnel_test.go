package console_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A tunnel passes connections on, and while it is stalled nothing on them, though all
// stay open.
type tunnel struct {
	net.Listener
	stalled atomic.Bool
}

func newTunnel(t *testing.T, to string) *tunnel {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tn := &tunnel{Listener: l}
	var ways sync.WaitGroup
	pass := func(to, from net.Conn) {
		defer to.Close()
		room := make([]byte, 4096)
		for {
			n, err := from.Read(room)
			if err != nil {
				return
			}
			if tn.stalled.Load() {
				continue
			}
			if _, err := to.Write(room[:n]); err != nil {
				return
			}
		}
	}
	ways.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			ways.Go(func() { pass(far, near) })
			ways.Go(func() { pass(near, far) })
		}
	})
	t.Cleanup(func() { _ = l.Close() })
	return tn
}
