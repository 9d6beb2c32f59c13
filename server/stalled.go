package server

import (
	"time"

	"github.com/sangate/sangate/server/admission"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/unread"
)

// Waited implements [unread.Answer].
func (w *answerWriter) Waited(now time.Time) time.Duration {
	return now.Sub(time.Unix(0, w.moved.Load()))
}

// Cut implements [unread.Answer].
func (w *answerWriter) Cut(why unread.Reason) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.aborted {
		return
	}
	w.abort()
	w.server.answerCut(w.q, why)
}

// watch looks at an answer that is being written: each sweep calls it for each request
// in progress. An answer over HTTP/2 whose client gives it no window for the stall time
// is cut. A stream that waits only because its connection is slow is left to the
// connection's own bound, and to this one if the connection takes nothing and the
// answer was cut already: nobody could tell the client.
func (w *answerWriter) watch(now time.Time, stall time.Duration) {
	sends := w.q.conn.sends.Load()
	stuck := sends%2 == 1 && sends == w.seenSends
	moved := sends != w.seenSends
	w.seenSends = sends
	w.stuck.Store(stuck)
	if !w.overHTTP2 {
		if moved {
			w.moved.Store(now.UnixNano())
		}
		return
	}
	parts := w.parts.Load()
	waits := parts%2 == 1 && parts == w.seenParts
	w.seenParts = parts
	switch {
	case !waits:
		return
	case stuck:
		w.abandon()
	case w.Waited(now) >= stall:
		w.Cut(unread.Stalled)
	}
}

// abandon closes the connection of an answer that was cut and cannot be reset, because
// the connection takes nothing.
func (w *answerWriter) abandon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aborted && !w.ended {
		w.q.conn.abort()
	}
}

// A progress is what a client was seen to take of its connection.
type progress struct {
	sends  uint64    // of connection.sends
	unsent int       // bytes that the system holds
	since  time.Time // time of the last change; zero: nothing waits for the client
}

// stalled returns for how long the client has taken nothing of what is written to its
// connection. One goroutine calls it, again and again.
func (c *connection) stalled(now time.Time) time.Duration {
	sends := c.sends.Load()
	if sends%2 == 0 {
		c.progress = progress{sends: sends}
		return 0
	}
	unsent := unsentOf(c.Conn)
	if c.progress.since.IsZero() || sends != c.progress.sends || unsent != c.progress.unsent {
		c.progress = progress{sends, unsent, now}
	}
	return now.Sub(c.progress.since)
}

// answerCut counts and logs an answer that was cut because its client does not read it.
func (s *Server) answerCut(q *request, why unread.Reason) {
	s.metrics.AnswerCut(why)
	s.repeated.Info("answer cut: its client does not read it", "reason", why, "tenant", q.out.tenant,
		"remote", q.http.RemoteAddr, "requestId", q.id)
}

// connectionStalled ends a connection whose client has taken nothing for too long.
func (s *Server) connectionStalled(c *connection) {
	s.metrics.ConnectionDropped(admission.Stalled)
	s.repeated.Info("connection closed: its client does not read what it asked for", "tenant", c.tenant, "identity", c.name,
		"remote", c.RemoteAddr().String())
	c.abort()
}

// unreadBounds are those of a configuration.
func unreadBounds(l *config.Limits) unread.Bounds {
	return unread.Bounds{Total: l.UnreadBytes, Tenant: l.PerTenant.UnreadBytes, Identity: l.PerIdentity.UnreadBytes}
}
