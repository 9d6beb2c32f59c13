package http1

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sangate/sangate/server/lifetime"
)

// An exchange is a request and the answer to it: the http.ResponseWriter, and the
// request's context.
type exchange struct {
	lifetime.Context
	conn    *Conn
	request *http.Request
	url     url.URL
	body    body
	values  [12]string // of the request's header

	mu      sync.Mutex // of what follows: a handler may leave somebody behind
	header  http.Header
	framing framing
	said    int64   // what Content-Length says is left, where it does
	out     *output // head and body that are not sent yet
	typed   bool    // what the body is, the handler has said
	sealed  bool    // the head is whole
	closing bool    // with this answer
	err     error   // of the connection, or that the answer is over
}

// begin takes a request, if a plain one is there.
func (c *Conn) begin() (*exchange, bool) {
	x := &exchange{conn: c}
	var said http.Request
	n, ok := parse(c.buf[c.start:c.end], &said, &x.url, x.values[:])
	if !ok || n > c.server.MaxHead {
		return nil, false
	}
	x.Begin(c.ctx, time.Time{})
	ctx := context.Context(x)
	if c.server.Context != nil {
		ctx = c.server.Context(x)
	}
	r := said.WithContext(ctx)
	r.RemoteAddr, r.TLS, r.Body, x.request = c.remote, c.tls, http.NoBody, r
	if x.body.left = r.ContentLength; x.body.left > 0 {
		x.body.of, r.Body = x, &x.body
	}
	c.start += n
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = x
	if int64(c.end-c.start) < x.body.left {
		c.until = time.Now().Add(c.server.BodyTimeout)
	}
	return x, true
}

// answered has the handler answer, and reports whether the connection can go on. A
// client that is still sending has time to read the answer.
func (x *exchange) answered() (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				x.conn.server.Log.Printf("http: panic serving %v: %v\n%s", x.conn.remote, v, debug.Stack())
			}
			x.abandon()
		}
	}()
	x.conn.server.Handler.ServeHTTP(x, x.request)
	if ok = x.finish(); ok {
		return true
	}
	x.body.drop() // what is unread would have the system take back the answer
	if x.body.tooLong() {
		_ = x.conn.CloseWrite()
		time.Sleep(farewell)
	}
	return false
}

// farewell is what a client that is still sending has to read its answer.
const farewell = 500 * time.Millisecond

// finish ends the answer, and reports whether the connection can go on.
func (x *exchange) finish() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.framing == unbegun {
		x.head(http.StatusOK)
	}
	x.flush(nil, true)
	ok := x.err == nil && !x.closing && x.said == 0
	x.end()
	return ok
}

// abandon leaves the answer as it is.
func (x *exchange) abandon() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.end()
}

// end lets go of all that others use after it. Callers hold mu.
func (x *exchange) end() {
	x.conn.over()
	_ = x.body.Close()
	if o := x.out; o != nil && cap(o.head) <= maxOutput {
		o.head, o.body = o.head[:0], o.body[:0]
		outputs.Put(o)
	}
	x.out, x.err = nil, errOver
	x.Release()
}

var errOver = errors.New("the answer is over")

// maxOutput bounds what is kept for the next answer, in bytes.
const maxOutput = 64 << 10
