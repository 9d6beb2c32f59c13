// Package http1 answers requests over HTTP/1.1 at less cost than net/http where they
// are plain: a head that is whole, strict and says nothing out of the ordinary. The
// first request of a connection that is not, and all that come after it, are
// net/http's. A request and its answer are net/http's for the handler in both cases,
// and a test has both meet the same clients.
//
// What no handler of the gate asks for is not there: http.ServerContextKey, hijacking,
// full duplex, trailers, and framing by a Transfer-Encoding or a Connection header of the
// handler's, but for "close". A status below 200 is left out, and none makes WriteHeader
// panic. A deadline for reading that passes while nobody reads ends nothing.
package http1

import (
	"context"
	"crypto/tls"
	"log"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Server answers plain requests. Its fields are set before the first connection.
type Server struct {
	Handler     http.Handler
	HeadTimeout time.Duration // until the first request has begun
	BodyTimeout time.Duration // from the head of a request to the end of its body
	IdleTimeout time.Duration // between requests
	MaxHead     int           // bytes of a head; a longer one is net/http's to refuse
	Log         *log.Logger   // of handlers that panic

	// Context makes the context of a request, which ends with the one it is given;
	// nil: that one.
	Context func(context.Context) context.Context

	draining atomic.Bool
	mu       sync.Mutex
	open     map[*Conn]struct{}
	none     chan struct{} // closed when the last is gone; made by Shutdown
}

// New makes a connection of one whose handshake is done. ctx is what the contexts of
// its requests come of.
func (s *Server) New(ctx context.Context, c *tls.Conn) *Conn {
	state := c.ConnectionState()
	h := &Conn{Conn: c, server: s, ctx: ctx, remote: c.RemoteAddr().String(), tls: &state}
	h.turn = sync.NewCond(&h.mu)
	return h
}

// Shutdown has each connection end with the answer it is at, at once where it is at
// none, and returns when all have, or with the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.mu.Lock()
	if s.none == nil {
		s.none = make(chan struct{})
		if len(s.open) == 0 {
			close(s.none)
		}
	}
	for c := range s.open {
		c.wake()
	}
	s.mu.Unlock()
	select {
	case <-s.none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all connections.
func (s *Server) Close() {
	s.draining.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Conn.NetConn().Close() // whoever is at it finds out
	}
}

// add reports false where no connection is taken any more.
func (s *Server) add(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	if s.open == nil {
		s.open = make(map[*Conn]struct{})
	}
	s.open[c] = struct{}{}
	return true
}

func (s *Server) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if s.none != nil && len(s.open) == 0 {
		close(s.none)
	}
}
