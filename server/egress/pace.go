package egress

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	// window is how much of one answer a server may send over HTTP/2 before its caller reads it.
	window = 1 << 20
	// burst is how much may be read of a connection that nothing explains.
	burst = 256 << 10
	// openRate and idleRate are how many such bytes a second may be read on, with requests
	// in progress and without any.
	openRate = 256 << 10
	idleRate = 16 << 10
	// maxHead is what the head of an answer explains at most. onTheWay is how much of an
	// answer that is not read to its end may be on its way, in addition to as much as was read.
	maxHead  = 16 << 10
	onTheWay = 64 << 10
)

// A pacedConn is a connection to a server that is read slowly if it brings what no
// request explains. net/http's HTTP/2 client reads control frames (PING, SETTINGS, empty
// DATA and others) without a bound, for as long as a server sends them.
//
// The connection has a budget of bytes that may be read. Each byte read takes one. Bytes
// of an answer that its caller has read give theirs back, with an overhead for framing; a
// request in progress adds the window of its answer. Without budget, Read waits until
// time or a request brings more. It stands under TLS and counts bytes of records.
type pacedConn struct {
	net.Conn
	more chan struct{} // something changed for a Read that waits

	mu       sync.Mutex
	budget   int
	open     int       // requests in progress
	filled   time.Time // when time last added to the budget
	deadline time.Time // of Read
	closed   bool
}

// pace returns a dial whose connections are paced.
func pace(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &pacedConn{Conn: c, more: make(chan struct{}, 1), budget: burst, filled: time.Now()}, nil
	}
}

// paced returns the connection under TLS; nil if it is another's.
func paced(c net.Conn) *pacedConn {
	for {
		switch at := c.(type) {
		case *pacedConn:
			return at
		case interface{ NetConn() net.Conn }:
			c = at.NetConn()
		default:
			return nil
		}
	}
}

// Read reads as its connection does, once the budget is not overdrawn. A read may overdraw
// it: by one record of TLS at most.
func (c *pacedConn) Read(p []byte) (int, error) {
	for wait := c.wait(); wait > 0; wait = c.wait() {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.more:
		}
		timer.Stop()
	}
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	c.budget -= n
	c.mu.Unlock()
	return n, err
}

// wait returns how long a Read must wait; not at all if the connection under it would
// return an error at once.
func (c *pacedConn) wait() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refill()
	if c.budget >= 0 || c.closed {
		return 0
	}
	wait := time.Duration(float64(-c.budget)/c.rate()*float64(time.Second)) + 1
	if !c.deadline.IsZero() {
		wait = min(wait, time.Until(c.deadline)+time.Millisecond) // by then the connection returns the error
	}
	return wait
}

// rate returns how many bytes a second time adds to the budget. The caller holds mu.
func (c *pacedConn) rate() float64 {
	if c.open > 0 {
		return openRate
	}
	return idleRate
}

// refill adds to a budget that is overdrawn what time has added since the last refill, and
// looks at no clock otherwise. The caller holds mu.
func (c *pacedConn) refill() {
	if c.budget >= 0 {
		return
	}
	now := time.Now()
	if gained := now.Sub(c.filled).Seconds() * c.rate(); gained >= 1 {
		c.budget, c.filled = min(c.budget+int(min(gained, 1<<30)), burst), now
	}
}

// begin adds what the answer to a request may bring. Like explain and end, it does nothing
// for a nil connection.
func (c *pacedConn) begin() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refill()
	c.open++
	c.budget += explained(window)
	c.changed()
}

// explain gives back what n bytes that were asked for took.
func (c *pacedConn) explain(n int) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(n)
}

// end takes back what begin has added, and gives n bytes back.
func (c *pacedConn) end(n int) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(n)
	c.open--
	c.budget = min(c.budget-explained(window), c.most())
}

// add adds to the budget, which never exceeds what the open requests could ask for. The
// caller holds mu.
func (c *pacedConn) add(n int) {
	c.budget = min(c.budget+explained(n), c.most())
	c.changed()
}

func (c *pacedConn) most() int { return burst + c.open*explained(window) }

// explained returns how many bytes n bytes of an answer take in frames and records: a
// quarter more, which suffices for messages of 124 bytes in a record of TLS each.
func explained(n int) int { return n + n/4 }

// changed wakes a Read that waits. The caller holds mu.
func (c *pacedConn) changed() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// Close closes the connection, also for a Read that waits.
func (c *pacedConn) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.changed()
	return err
}

// SetDeadline is for Read and Write.
func (c *pacedConn) SetDeadline(t time.Time) error {
	return c.readUntil(t, c.Conn.SetDeadline(t))
}

// SetReadDeadline is for Read, also one that waits.
func (c *pacedConn) SetReadDeadline(t time.Time) error {
	return c.readUntil(t, c.Conn.SetReadDeadline(t))
}

func (c *pacedConn) readUntil(t time.Time, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	c.changed()
	return err
}
