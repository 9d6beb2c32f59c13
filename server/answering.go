package server

import (
	"net/http"
	"sync"
	"time"
)

// abortAfter is how long the answer to a refused request may still take once it has
// begun: long enough for an event stream to end in order. With the interval of the
// sweep, an answer ends within a second of the change that refused its caller.
const abortAfter = 400 * time.Millisecond

// An answerWriter is the ResponseWriter of an admitted request. It knows whether the
// answer has begun, and can abort it while a handler is blocked in Write.
type answerWriter struct {
	http.ResponseWriter
	q *request

	mu       sync.Mutex
	began    bool
	ended    bool      // the handler has returned
	aborted  bool      // by the sweep
	overtime time.Time // since when the answer to a refused request was seen to be under way
}

// WriteHeader implements http.ResponseWriter.
func (w *answerWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.begin()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *answerWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
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
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = true
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
	w.aborted = true
	if w.q.http.ProtoMajor == 1 {
		w.q.conn.abort()
		return
	}
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
}
