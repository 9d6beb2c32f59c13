// Package http1 makes short calls over HTTP/1.1 cost less than net/http does by
// itself.
//
// For every request net/http sets eight deadlines, and has a goroutine read from the
// connection that sees the client go. A [Conn] arms a deadline where none is that is
// near enough, and lets that goroutine wait until the request is watched, which one
// that is answered at once never is.
package http1

import (
	"crypto/tls"
	"errors"
	"os"
	"sync"
	"time"
)

// writeSlack is how much longer than it should a write may take.
const writeSlack = time.Second

// A Conn is a connection of HTTP/1.1 for an [http.Server] whose ReadTimeout and
// IdleTimeout are set: a read of one byte without a deadline is its look for the
// client.
type Conn struct {
	*tls.Conn

	mu      sync.Mutex // of all that is about reading
	turn    *sync.Cond // of mu: one that waits has to look again
	until   time.Time  // the deadline that was set
	armed   time.Time  // the one that the tls.Conn has: no later, while it reads
	waiting bool       // to be watched
	reading bool
	closed  bool

	writing    sync.Mutex // of the same for writing
	writeUntil time.Time
	writeArmed time.Time // no earlier, and by writeSlack later at most
}

// New makes one of a connection whose handshake is done.
func New(c *tls.Conn) *Conn {
	h := &Conn{Conn: c}
	h.turn = sync.NewCond(&h.mu)
	return h
}

// Read is net.Conn's.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = len(p) == 1 && !c.closed
	for c.waiting && c.until.IsZero() {
		c.turn.Wait()
	}
	c.waiting = false
	if interrupts(c.until) {
		return 0, os.ErrDeadlineExceeded
	}
	if later(c.armed, c.until) {
		if err := c.arm(); err != nil {
			return 0, err
		}
	}
	for {
		c.reading = true
		c.mu.Unlock()
		n, err := c.Conn.Read(p)
		c.mu.Lock()
		c.reading = false
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !later(c.until, time.Now()) {
			return n, err
		}
		if err := c.arm(); err != nil { // the deadline had been put off
			return 0, err
		}
	}
}

// SetReadDeadline is net.Conn's.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	if c.waiting {
		c.turn.Signal()
	}
	if c.reading && later(c.armed, t) {
		return c.arm()
	}
	return nil
}

// arm has the tls.Conn have the deadline that was set. Callers hold mu.
func (c *Conn) arm() error {
	c.armed = c.until
	return c.Conn.SetReadDeadline(c.until)
}

// Watch has the request in progress, if there is one, end when its client goes.
func (c *Conn) Watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting {
		c.waiting = false
		c.turn.Signal()
	}
}

// Close is net.Conn's.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.Watch()
	return err
}

// Write is net.Conn's.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	if c.writeUntil.IsZero() && !c.writeArmed.IsZero() {
		c.writeArmed = time.Time{}
		_ = c.Conn.SetWriteDeadline(c.writeArmed) // Write says what is wrong
	}
	c.writing.Unlock()
	return c.Conn.Write(p)
}

// SetWriteDeadline is net.Conn's, but that a write in progress keeps a deadline that
// is taken away.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.writeUntil = t
	if t.IsZero() || !later(t, c.writeArmed) && !later(c.writeArmed, t.Add(writeSlack)) {
		return nil
	}
	c.writeArmed = t.Add(writeSlack)
	return c.Conn.SetWriteDeadline(c.writeArmed)
}

// SetDeadline is net.Conn's.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// later compares deadlines, of which the zero one never comes.
func later(a, b time.Time) bool {
	return !b.IsZero() && (a.IsZero() || a.After(b))
}

// interrupts tells the deadline by which net/http ends a read from those in time.
func interrupts(t time.Time) bool { return !t.IsZero() && t.Unix() <= 1 }
