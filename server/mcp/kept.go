package mcp

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tool"
)

// What a session of an older revision says once for all its requests.
const (
	methodSubscribe   = "resources/subscribe"
	methodUnsubscribe = "resources/unsubscribe"
	methodSetLevel    = "logging/setLevel"
)

// A kept is what is remembered for a session.
type kept struct {
	watched []string // URIs of resources
	level   string   // of logs; "": the SDK's own
}

// keeper remembers it, bounded, in this process: the stream of a session has to be
// where its other requests are.
type keeper struct {
	mu   sync.Mutex
	kept map[sessionID]*kept
}

// change has do change what is kept for a session.
func (k *keeper) change(id sessionID, do func(*kept)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil {
		k.kept = make(map[sessionID]*kept)
	}
	for other := range k.kept {
		if len(k.kept) < maxEnded || k.kept[id] != nil {
			break
		}
		delete(k.kept, other)
	}
	if k.kept[id] == nil {
		k.kept[id] = new(kept)
	}
	do(k.kept[id])
}

func (k *keeper) forget(id sessionID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.kept, id)
}

// watches reports whether a session has subscribed to a resource.
func (k *keeper) watches(id sessionID, uri string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.kept[id]
	return s != nil && slices.Contains(s.watched, uri)
}

// level is the least level of what a session wants of logs.
func (k *keeper) level(id sessionID) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.kept[id]; s != nil {
		return s.level
	}
	return ""
}

// levels are those of RFC 5424, the least first.
var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

type levelKey struct{}

// note takes up what a message says for its whole session, and has a call know what
// was said before; the SDK answers.
func (h *Handler) note(id sessionID, r *http.Request, m *message, body []byte) *http.Request {
	switch m.method {
	case methodCall:
		if level := h.kept.level(id); level != "" {
			return r.WithContext(context.WithValue(r.Context(), levelKey{}, level))
		}
		return r
	case methodSubscribe, methodUnsubscribe, methodSetLevel:
	default:
		return r
	}
	var said struct {
		Params struct {
			URI   string `json:"uri"`
			Level string `json:"level"`
		} `json:"params"`
	}
	if json.Unmarshal(body, &said) != nil {
		return r
	}
	uri := said.Params.URI
	switch can := watchedOf(auth.DecisionFrom(r.Context()).Tools); {
	case m.method == methodSubscribe && can[uri]:
		h.kept.change(id, func(k *kept) {
			if !slices.Contains(k.watched, uri) && len(k.watched) < maxWatched {
				k.watched = append(k.watched, uri)
			}
		})
	case m.method == methodUnsubscribe && can[uri]:
		h.kept.change(id, func(k *kept) { k.watched = slices.DeleteFunc(k.watched, func(u string) bool { return u == uri }) })
	case m.method == methodSetLevel && slices.Contains(levels, said.Params.Level):
		h.kept.change(id, func(k *kept) { k.level = said.Params.Level })
	}
	return r
}

// Get answers GET /mcp for an admitted request: the stream on which a session of an
// older revision is told what changes.
func (h *Handler) Get(w http.ResponseWriter, r *http.Request) {
	id, ok := h.session(w, r)
	switch {
	case !ok:
		return
	case id == sessionID{} || !takesEvents(r.Header["Accept"]):
		w.Header().Set("Allow", "DELETE, POST")
		answer.Fail(w, r, answer.MethodNotAllowed)
		return
	}
	h.opts.Admit(r, "", nil)
	d := auth.DecisionFrom(r.Context())
	l := &listener{tenant: d.Principal.TenantID, shown: d.Tools, wants: wanted{Tools: true, Prompts: true, Resources: true},
		watches: func(uri string) bool { return h.kept.watches(id, uri) }, news: make(chan struct{}, 1)}
	h.stream(w, r, l, func(s *events) bool { return s.write(": \n\n") }, func(*events) {})
}

// quieter has a log leave out what is below a level.
func quieter(level string, log func(string, any)) func(string, any) {
	return func(l string, data any) {
		if slices.Index(levels, l) >= slices.Index(levels, level) {
			log(l, data)
		}
	}
}

// offered are the URIs that a view has and that can be watched.
func offered(view *tool.View, uris []string) []string {
	can := watchedOf(view)
	var out []string
	for _, uri := range uris {
		if can[uri] && !slices.Contains(out, uri) && len(out) < maxWatched {
			out = append(out, uri)
		}
	}
	return out
}
