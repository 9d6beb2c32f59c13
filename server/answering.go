package server

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/server/unread"
)

// abortAfter is how long the answer to a refused request may still take once it has
// begun: long enough for an event stream to end in order. With the interval of the
// sweep, an answer ends within a second of the change that refused its caller.
const abortAfter = 400 * time.Millisecond

// What is counted of answers that clients do not read.
const (
	smallAnswer  = 16 << 10 // bytes; over HTTP/1.1, with one request a connection, smaller ones are not counted
	streamMemory = 16 << 10 // bytes that a stream of HTTP/2 holds beside its answer
	answerPart   = 16 << 10 // bytes that HTTP/2 writes at once, so that progress is seen
)

// An answerWriter is the ResponseWriter of a request. It knows whether the answer has
// begun and how long its client has taken nothing of it, counts the memory it holds
// meanwhile, and can abort it while a handler is blocked in Write.
type answerWriter struct {
	http.ResponseWriter
	server           *Server
	q                *request
	tenant, identity string // that its memory is counted for
	overHTTP2        bool
	admitted         bool // the request
	copies, beside   int  // of what is written, and bytes beside it, that are held meanwhile

	parts atomic.Uint64 // HTTP/2: writes begun and ended; odd: one is in progress
	moved atomic.Int64  // time at which the client last took something, Unix ns
	stuck atomic.Bool   // its connection takes nothing

	mu       sync.Mutex
	began    bool
	ended    bool      // the handler has returned
	aborted  bool      // by the sweep or for other answers
	overtime time.Time // since when the answer to a refused request was seen to be under way

	seenParts, seenSends uint64 // at the last sweep, which alone uses them
}

// answering returns the writer for the answer of q in the place of w. Until the request
// is admitted, its memory counts for who the connection belongs to.
func (s *Server) answering(q *request, w http.ResponseWriter) *answerWriter {
	a := &q.out
	a.ResponseWriter, a.server, a.q, a.overHTTP2 = w, s, q, q.http.ProtoMajor == 2
	a.tenant, a.identity = q.conn.tenant, q.conn.identity
	return a
}

// sdkCopies is how many copies of what is written over it the MCP SDK holds, as
// TestUnreadAnswersAreBounded finds.
const sdkCopies = 4

// sdkBodies is how many times the size of a body the MCP SDK takes to read it, beside the
// body: it decodes a message more than once, into rooms that grow by doubling.
const sdkBodies = 8

// smallMessage is the size of a body for which that is not counted.
const smallMessage = 16 << 10

// copied notes that the MCP SDK answers a request with that body. It returns the refusal
// if the memory for that is too much.
func copied(r *http.Request, body []byte) error {
	q := requestOf(r.Context())
	q.out.copies, q.out.beside = sdkCopies, cap(body)
	if len(body) <= smallMessage {
		return nil
	}
	return q.TakeAnswer(int64(sdkBodies) * int64(len(body)))
}

// WriteHeader implements http.ResponseWriter.
func (w *answerWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.begin()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *answerWriter) Write(p []byte) (n int, err error) {
	w.begin()
	if len(p) <= smallAnswer && (!w.overHTTP2 || len(p) <= buffered) {
		return w.ResponseWriter.Write(p)
	}
	defer w.hold(cap(p)).Release()
	if !w.overHTTP2 {
		return w.ResponseWriter.Write(p)
	}
	for len(p) > 0 && err == nil {
		var part int
		w.parts.Add(1)
		part, err = w.ResponseWriter.Write(p[:min(len(p), answerPart)])
		w.parts.Add(1)
		w.moved.Store(time.Now().UnixNano())
		n, p = n+part, p[part:]
	}
	return n, err
}

// buffered is what net/http holds of an answer over HTTP/2 before it is sent, in bytes.
const buffered = 4 << 10

// hold counts memory until the client has read what is written meanwhile.
func (w *answerWriter) hold(size int) *unread.Hold {
	w.moved.Store(time.Now().UnixNano())
	size += size*w.copies + w.beside
	if w.overHTTP2 {
		size += streamMemory
	}
	return w.server.unread.Hold(w.tenant, w.identity, int64(size), w)
}

// FlushError serves http.ResponseController.
func (w *answerWriter) FlushError() error {
	w.begin()
	if w.overHTTP2 {
		w.moved.Store(time.Now().UnixNano())
		w.parts.Add(1)
		defer w.parts.Add(1)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// SetWriteDeadline serves http.ResponseController. It does not revive an aborted answer.
func (w *answerWriter) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aborted {
		return http.ErrHandlerTimeout
	}
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(t)
}

// Unwrap serves http.ResponseController.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *answerWriter) begin() {
	w.q.turn.Leave() // a client may take long to read it
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = true
}

func (w *answerWriter) hasBegun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.began
}

// finish has what is buffered of an answer over HTTP/2 sent while the request counts:
// net/http would send it when the handler has returned, and wait for a client that
// takes nothing with nobody knowing. The first answer since the connection was idle is
// spared that, so a client with one request at a time does not pay for it.
func (w *answerWriter) finish() {
	if !w.overHTTP2 || !w.hasBegun() || w.q.conn.answered.Add(1) == 1 {
		return
	}
	if !w.admitted { // and nobody looks at it yet
		w.server.finishing.add(w.q)
		defer w.server.finishing.remove(w.q)
	}
	defer w.hold(buffered).Release()
	_ = w.FlushError() // the client may be gone; nobody is left to tell
}

// end is called when the handler returns: the ResponseWriter must not be used after.
func (w *answerWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

// abortOverdue aborts the answer to a refused request that has been under way for
// abortAfter: HTTP/2 resets its stream, HTTP/1.1 its connection, so that nothing that
// is buffered reaches the client either.
func (w *answerWriter) abortOverdue(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended || w.aborted || !w.began:
		return
	case w.overtime.IsZero():
		w.overtime = now
		return
	case now.Sub(w.overtime) < abortAfter:
		return
	}
	w.abort()
}

// abort ends the answer. Callers hold mu.
func (w *answerWriter) abort() {
	w.aborted = true
	if !w.overHTTP2 || w.stuck.Load() {
		w.q.conn.abort()
		return
	}
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
}
