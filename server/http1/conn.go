package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"sync"
	"time"
)

// room is what a connection has for what its client sends, in bytes. A longer body
// goes to its reader past it.
const room = 4 << 10

// A Conn is a connection of HTTP/1.1. What Serve leaves is net/http's: Read gives it
// all that was not answered.
type Conn struct {
	*tls.Conn
	server *Server
	ctx    context.Context
	remote string
	tls    *tls.ConnectionState

	buf        []byte // buf[start:end] is of the client and not yet taken
	start, end int

	mu      sync.Mutex
	turn    *sync.Cond // of mu: looking has ended
	current *exchange  // nil: between requests
	waiting bool       // for a request, and nothing of it is there
	looking bool       // for the client to go, which a goroutine does
	until   time.Time  // by when what is read is there; zero: whenever
	armed   time.Time  // the deadline that the tls.Conn has for reading, which may be earlier
	bounded bool       // is what is written, by whoever is at current
	writing time.Time  // the deadline that the tls.Conn has for it; stays for the next
}

// Serve answers requests until the connection has ended, or a request comes that
// net/http has to answer, and reports that.
func (c *Conn) Serve() (more bool) {
	if !c.server.add(c) {
		_ = c.Close()
		return false
	}
	defer func() {
		if !more {
			_ = c.Close()
		}
		c.server.remove(c)
	}()
	c.buf = make([]byte, room)
	until := time.Now().Add(c.server.HeadTimeout)
	breaks := 0 // that may come before the next request
	for {
		for breaks > 0 && c.start < c.end && (c.buf[c.start] == '\r' || c.buf[c.start] == '\n') {
			c.start++
			breaks--
		}
		if c.start == c.end {
			c.start, c.end = 0, 0
			if !c.wait(until) {
				return false
			}
			continue
		}
		x, ok := c.begin()
		if !ok {
			_ = c.SetDeadline(time.Time{}) // net/http has its own
			return true
		}
		if breaks = 0; x.request.Method == http.MethodPost {
			breaks = maxBreaks
		}
		if !x.answered() {
			return false
		}
		until = time.Now().Add(c.server.IdleTimeout)
	}
}

// maxBreaks is how many CR and LF may stand behind the body of a POST, where old
// clients have some. net/http takes as many.
const maxBreaks = 4

// wait waits for a request to begin. It reports false if none does.
func (c *Conn) wait(until time.Time) bool {
	c.mu.Lock()
	if c.server.draining.Load() {
		c.mu.Unlock()
		return false
	}
	c.waiting, c.until = true, until
	c.await()
	c.mu.Unlock()
	n, err := c.read(c.buf)
	c.mu.Lock()
	c.waiting = false
	c.mu.Unlock()
	c.end = n
	return n > 0 || err == nil
}

// read reads what comes in time.
func (c *Conn) read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.putOff() {
			return n, err
		}
	}
}

// putOff arms the deadline that is meant where an earlier one has passed, unless it is
// a request that is waited for and none is taken any more. One that came just as it was
// woken is read to its end.
func (c *Conn) putOff() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting && c.server.draining.Load() || !c.until.IsZero() && !time.Now().Before(c.until) {
		return false
	}
	c.free()
	c.arm(c.until)
	return true
}

// await has a read return when its time is over, and before a deadline for writing
// passes that was of an answer before: TLS may write where it reads. Callers hold mu.
func (c *Conn) await() {
	t := c.until
	if early := c.writing.Add(-writeSlack); !c.bounded && !c.writing.IsZero() && (t.IsZero() || early.Before(t)) {
		t = early
	}
	if !t.IsZero() && (c.armed.IsZero() || c.armed.After(t)) {
		c.arm(t)
	}
}

// arm has the tls.Conn have a deadline for reading. Callers hold mu.
func (c *Conn) arm(until time.Time) {
	c.armed = until
	_ = c.Conn.SetReadDeadline(until) // Read says what is wrong
}

var past = time.Unix(1, 0)

// wake ends the wait for a request.
func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting {
		c.arm(past)
	}
}

// Watch has the request in progress, if there is one, end when its client goes.
func (c *Conn) Watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil || c.looking || !c.current.body.taken() {
		return
	}
	if c.start == c.end {
		c.start, c.end = 0, 0
	}
	c.looking = true // but where the room is full of requests to come
	c.free()
	c.arm(time.Time{})
	go c.look(c.current)
}

// look waits for more of the client, which may be the next request, or for its end.
func (c *Conn) look(x *exchange) {
	n, err := c.Conn.Read(c.buf[c.end:])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end += n
	c.looking = false
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		x.End(nil)
	}
	c.turn.Signal()
}

// over ends the look for the client, with the request.
func (c *Conn) over() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.bounded = nil, false
	if c.looking {
		c.arm(past)
		for c.looking {
			c.turn.Wait()
		}
		c.armed = time.Time{} // whatever comes next arms it
	}
}

// hurry has the rest of a request read by then; zero: whenever.
func (c *Conn) hurry(x *exchange, t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != x {
		return
	}
	if c.until = t; !c.looking {
		c.await()
	}
}

// Read is net.Conn's, for net/http.
func (c *Conn) Read(p []byte) (int, error) {
	if c.start < c.end {
		n := copy(p, c.buf[c.start:c.end])
		if c.start += n; c.start == c.end {
			c.buf = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// writeSlack is how much longer than it should a write may take.
const writeSlack = time.Second

// bound has all of an answer written by then; zero: whenever. Few answers make the
// tls.Conn have another deadline.
func (c *Conn) bound(x *exchange, t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != x {
		return
	}
	if c.bounded = !t.IsZero(); !c.bounded {
		c.free()
	} else if c.writing.Before(t) || c.writing.After(t.Add(writeSlack)) {
		c.writing = t.Add(writeSlack)
		_ = c.SetWriteDeadline(c.writing) // the next write says what is wrong
	}
}

// free takes back a deadline for writing that is none of the answer in progress.
// Callers hold mu.
func (c *Conn) free() {
	if !c.bounded && !c.writing.IsZero() {
		c.writing = time.Time{}
		_ = c.SetWriteDeadline(c.writing)
	}
}

func (c *Conn) write(p []byte) error {
	c.mu.Lock()
	c.free()
	c.mu.Unlock()
	_, err := c.Conn.Write(p)
	return err
}
