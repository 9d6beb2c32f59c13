package answer

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// Caught is deferred by who answers a request: a panic is told, by the request's id
// where it has one, and breaks the answer off. Left to net/http it would be among what
// peers do on the wire, which is told at level debug.
func Caught(log *slog.Logger, requestID string) {
	p := recover()
	if p == nil {
		return
	}
	if p != http.ErrAbortHandler {
		log.Error("request panicked", "requestId", requestID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}
