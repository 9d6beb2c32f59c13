package mcp

import (
	"bytes"
	"io"
	"net/http"
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/object"
	"github.com/sangate/sangate/server/tool"
)

// A face is what the tenants of one view are shown, kept with the view: the SDK's
// server of it, and the answers that say the same whoever asks, each as the SDK
// has made it once.
type face struct {
	server  *sdk.Server
	reads   *sdk.Server // of resources
	answers sync.Map    // answerKey → []byte, the result alone
}

// An answerKey is what the answer to a method depends on, beside the view.
type answerKey struct {
	method    string
	protocol  string // of initialize
	stateless bool
}

// face returns that of the request's tenant.
func (h *Handler) face(r *http.Request) *face {
	return auth.DecisionFrom(r.Context()).Tools.Keep(h.newFace).(*face)
}

// server is for the SDK, which asks twice for every request.
func (h *Handler) server(r *http.Request) *sdk.Server {
	if r.Context().Value(readsKey{}) != nil {
		return h.face(r).reads
	}
	return h.face(r).server
}

// readsKey is in the context of requests that read a resource.
type readsKey struct{}

// answer returns the result of a method, or nil where the SDK has none.
func (f *face) answer(h *Handler, r *http.Request, key answerKey) []byte {
	if known, ok := f.answers.Load(key); ok {
		return known.([]byte)
	}
	result := h.ask(r, key)
	if result == nil {
		return nil
	}
	known, _ := f.answers.LoadOrStore(key, result)
	return known.([]byte)
}

// What the SDK is asked with.
const (
	askedAs   = `{"name":"sangate","version":"1"}`
	askedMeta = `{"_meta":{"io.modelcontextprotocol/protocolVersion":"` + statelessRevision +
		`","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":` + askedAs + `}}`
)

// ask has the SDK answer for whoever has sent r, and returns its result.
func (h *Handler) ask(r *http.Request, key answerKey) []byte {
	head := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	params := "{}"
	switch {
	case key.method == methodInitialize:
		params = `{"protocolVersion":"` + key.protocol + `","capabilities":{},"clientInfo":` + askedAs + `}`
	case key.stateless:
		params = askedMeta
		head[revisionHeader], head["Mcp-Method"] = []string{statelessRevision}, []string{key.method}
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"` + key.method + `","params":` + params + `}`
	asked := (&http.Request{Method: http.MethodPost, URL: r.URL, Host: r.Host, Header: head, ContentLength: int64(len(body)),
		Body: io.NopCloser(bytes.NewBufferString(body))}).WithContext(r.Context())
	rec := &recorder{header: make(http.Header)}
	h.sdk.ServeHTTP(rec, asked)
	members, err := object.Parse(nil, rec.body.Bytes(), 8)
	if err != nil || rec.status != http.StatusOK {
		return nil
	}
	for _, m := range members {
		if string(m.Name) == "result" {
			return m.Value
		}
	}
	return nil
}

// A recorder is a ResponseWriter that keeps what is written.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// newFace makes the face of a view.
func (h *Handler) newFace(view *tool.View) any {
	return &face{server: h.newServer(view), reads: h.newReads(view)}
}
