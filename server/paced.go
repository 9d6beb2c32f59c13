package server

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sangate/sangate/server/admission"
	"github.com/sangate/sangate/server/turns"
)

// enterHandshake waits for a turn for what is next of the handshake, until that ends.
// Networks come in turn, and the addresses of each.
func (c *connection) enterHandshake() error {
	if c.handshakes == nil {
		return nil
	}
	return c.turn.Enter(c.proving, c.handshakes, admission.NetworkOf(c.from).String(), c.from.String())
}

// A flow is one direction of a connection: how many bytes went through since the
// connection last waited for its client, or a request ended.
type flow struct{ bytes atomic.Int64 }

// moved counts n bytes, and returns them.
func (f *flow) moved(n int) int {
	f.bytes.Add(int64(n))
	return n
}

// readNow reads what is there if so much was read already that reading takes a turn of the
// connection's tenant. It returns 0 if it does not, or nothing is there.
func (c *connection) readNow(p []byte) int { return c.now(&c.in, p, syscall.RawConn.Read, receive) }

// writeNow is readNow for writing: it writes what the client takes without a wait.
func (c *connection) writeNow(p []byte) int { return c.now(&c.out, p, syscall.RawConn.Write, send) }

// writeHandshake writes what is next of the handshake. A client that does not take it at
// once has neither a turn meanwhile, nor a slot for as long as it likes.
func (c *connection) writeHandshake(slot *admission.Slot, p []byte) (int, error) {
	n := moveNow(c.Conn, p, syscall.RawConn.Write, send)
	if n == len(p) {
		return n, nil
	}
	c.turn.Leave()
	slot.Waits(time.Now())
	rest, err := c.Conn.Write(p[n:])
	slot.Works(time.Now())
	if ended := c.enterHandshake(); err == nil {
		err = ended
	}
	return n + rest, err
}

// now moves what can be moved without a wait. locked has the system's descriptor for it.
func (c *connection) now(f *flow, p []byte, locked func(syscall.RawConn, func(fd uintptr) bool) error,
	move func(fd uintptr, p []byte) (int, error)) (n int) {
	if c.turns == nil || f.bytes.Load() <= turns.Large || len(p) == 0 {
		return 0
	}
	if c.turns.Take(context.Background(), c.tenant, c.identity) != nil {
		return 0
	}
	defer c.turns.Give()
	if n = moveNow(c.Conn, p, locked, move); n == 0 {
		f.bytes.Store(0) // from here on it waits; who waits learns of errors
	}
	return n
}

// moveNow moves what can be moved without a wait; 0 if that is nothing, or not known.
func moveNow(of net.Conn, p []byte, locked func(syscall.RawConn, func(fd uintptr) bool) error,
	move func(fd uintptr, p []byte) (int, error)) (n int) {
	sc, ok := of.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	done := locked(raw, func(fd uintptr) bool {
		n, err = move(fd, p)
		return true
	})
	if done != nil || err != nil {
		return 0
	}
	return max(n, 0)
}
