package mcp

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/sangate/sangate/server/answer"
)

// A jsonWriter turns the SDK's errors in plain text into the one error body of
// the gate, and what it makes of a request that was cut off into the answer that
// says why. A response gets the id of its request. Everything else passes.
type jsonWriter struct {
	http.ResponseWriter
	request *http.Request
	id      jsontext.Value       // of the request, for which the SDK has another; nil: none
	session string               // begun by the request, if it succeeds
	failed  func(*jsonrpc.Error) // hears of errors of JSON-RPC in what is written; may be nil
	began   bool
	refused int  // the status of an error whose text is to come
	replace bool // what follows is dropped
	stream  bool // of events: it may last, each event may not
}

// eventDeadline bounds how long one event may take to be read.
const eventDeadline = 30 * time.Second

func (w *jsonWriter) WriteHeader(status int) {
	if w.began {
		return
	}
	w.began = status >= http.StatusOK
	if cut := context.Cause(w.request.Context()); cut != nil {
		w.began, w.replace = true, true
		answer.FailWith(w.ResponseWriter, w.request, cut)
		return
	}
	h := w.Header()
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	if status < http.StatusBadRequest || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
		if h.Get("Content-Type") == "" && status < http.StatusMultipleChoices && status != http.StatusNoContent {
			h.Set("Content-Type", "application/json")
		}
		if strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") {
			w.stream = true
			w.deadline(time.Time{})
		}
		if w.session != "" && status == http.StatusOK {
			h.Set(sessionHeader, w.session)
		}
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = status
}

// fail answers with the gate's own error in the place of the SDK's, whose text is for
// the operator.
func (w *jsonWriter) fail(text string) {
	e := plain(w.refused)
	w.refused, w.replace = 0, true
	w.Header().Del("X-Content-Type-Options")
	if text = strings.TrimSpace(text); text != "" {
		answer.Note(w.request.Context(), e.Code, text)
	}
	answer.Fail(w.ResponseWriter, w.request, e)
}

// end is called when the SDK is done, be it without an answer.
func (w *jsonWriter) end() {
	if w.WriteHeader(http.StatusOK); w.refused != 0 {
		w.fail("")
	}
}

func plain(status int) answer.Error {
	switch status {
	case http.StatusNotFound:
		return answer.NotFound
	case http.StatusMethodNotAllowed:
		return answer.MethodNotAllowed
	case http.StatusRequestEntityTooLarge:
		return answer.TooLarge
	case http.StatusUnsupportedMediaType:
		return answer.UnsupportedType
	case http.StatusForbidden:
		return answer.Forbidden
	case http.StatusBadRequest:
		return answer.BadRequest("Not a request of the Model Context Protocol: see its Streamable HTTP transport for Accept, MCP-Protocol-Version and body.")
	}
	return answer.Internal
}

func (w *jsonWriter) Write(p []byte) (int, error) {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	if w.refused != 0 {
		w.fail(string(p))
	}
	if w.replace {
		return len(p), nil
	}
	if w.failed != nil {
		if e := errorOf(p); e != nil {
			w.failed(e)
		}
	}
	if w.stream {
		w.deadline(time.Now().Add(eventDeadline))
	}
	if err := w.withID(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush lets event streams through.
func (w *jsonWriter) Flush() {
	_ = http.NewResponseController(w.ResponseWriter).Flush() // the next write fails, too
	if w.stream {
		w.deadline(time.Time{})
	}
}

func (w *jsonWriter) deadline(t time.Time) {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(t) // not there on a test's recorder
}

// Unwrap serves http.ResponseController.
func (w *jsonWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
