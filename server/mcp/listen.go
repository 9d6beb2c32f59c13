package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tool"
)

// methodListen opens a stream that tells what changes (2026-07-28, SEP-2575).
const methodListen = "subscriptions/listen"

// Bounds of a stream.
const (
	keepAlive   = 25 * time.Second // between signs of life, for what is on the way
	maxWatched  = 100              // resources
	maxListened = 4096             // bytes of what is asked for
)

// A listener is an open stream: what it is to be told of, and what of that has
// happened since it was told last.
type listener struct {
	tenant  string
	shown   *tool.View // what its lists were, as far as it knows
	wants   wanted
	watches func(uri string) bool // a resource
	stamp   string                // _meta of what it is told, as JSON; "": none

	mu      sync.Mutex
	changed wanted
	news    chan struct{}
}

// wanted is what a stream tells of; as JSON, the filter of subscriptions/listen.
type wanted struct {
	Tools     bool     `json:"toolsListChanged,omitempty"`
	Prompts   bool     `json:"promptsListChanged,omitempty"`
	Resources bool     `json:"resourcesListChanged,omitempty"`
	Watched   []string `json:"resourceSubscriptions,omitempty"`
}

func (w *wanted) nothing() bool {
	return !w.Tools && !w.Prompts && !w.Resources && len(w.Watched) == 0
}

// listeners are the streams that are open.
type listeners struct {
	mu   sync.Mutex
	all  map[*listener]bool
	done chan struct{} // no more streams
}

func newListeners() *listeners {
	return &listeners{all: make(map[*listener]bool), done: make(chan struct{})}
}

func (ls *listeners) add(l *listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.all[l] = true
}

func (ls *listeners) remove(l *listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.all, l)
}

func (ls *listeners) each(do func(*listener)) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := range ls.all {
		do(l)
	}
}

// Changed tells the streams that are open what has become different for their
// tenants; view is what a tenant has now, nil where there is no such tenant.
func (h *Handler) Changed(view func(tenant string) *tool.View) {
	h.heard.each(func(l *listener) {
		next := view(l.tenant)
		if next == nil || next == l.shown {
			return
		}
		before := l.shown
		l.shown = next
		l.tell(wanted{Tools: !bytes.Equal(before.JSON(), next.JSON()),
			Prompts: !slices.EqualFunc(before.Prompts, next.Prompts, func(a, b *tool.Prompt) bool {
				return a.Name == b.Name && bytes.Equal(a.Described, b.Described)
			}),
			Resources: !slices.EqualFunc(before.Resources, next.Resources, func(a, b *tool.Resource) bool {
				return a.Name == b.Name && bytes.Equal(a.Described, b.Described)
			})})
	})
}

// Updated tells the streams that watch the resource that it is another.
func (h *Handler) Updated(uri string) {
	h.heard.each(func(l *listener) { l.tell(wanted{Watched: []string{uri}}) })
}

// Drain ends all streams, and those that are opened later at once.
func (h *Handler) Drain() {
	h.heard.mu.Lock()
	defer h.heard.mu.Unlock()
	select {
	case <-h.heard.done:
	default:
		close(h.heard.done)
	}
}

// tell notes what happened, as far as it is wanted. What has happened twice is told
// once.
func (l *listener) tell(news wanted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed.Tools = l.changed.Tools || news.Tools && l.wants.Tools
	l.changed.Prompts = l.changed.Prompts || news.Prompts && l.wants.Prompts
	l.changed.Resources = l.changed.Resources || news.Resources && l.wants.Resources
	for _, uri := range news.Watched {
		if l.watches(uri) && !slices.Contains(l.changed.Watched, uri) {
			l.changed.Watched = append(l.changed.Watched, uri)
		}
	}
	if l.changed.nothing() {
		return
	}
	select {
	case l.news <- struct{}{}:
	default: // it has not looked yet
	}
}

func (l *listener) take() wanted {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := l.changed
	l.changed = wanted{}
	return changed
}

// listen answers subscriptions/listen, or reports that the SDK has to, which says
// what is wrong with it.
func (h *Handler) listen(w http.ResponseWriter, r *http.Request, m *message) bool {
	var asked wanted
	if m.meta == nil || m.meta.revision != statelessRevision || !m.meta.plain || (m.id.Kind() != '"' && m.id.Kind() != '0') || m.response || m.other || m.name != "" || m.arguments != nil ||
		!is(r.Header[revisionHeader], statelessRevision) || !is(r.Header["Mcp-Method"], m.method) || !takesEvents(r.Header["Accept"]) ||
		m.notifications.Kind() != '{' || len(m.notifications) > maxListened || json.Unmarshal(m.notifications, &asked) != nil {
		return false
	}
	d := auth.DecisionFrom(r.Context())
	stamp := `"_meta":{"` + metaPrefix + `subscriptionId":` + string(m.id) + `}`
	wants := wanted{Tools: asked.Tools, Prompts: asked.Prompts && len(d.Tools.Prompts) > 0, Resources: asked.Resources && len(d.Tools.Resources) > 0,
		Watched: offered(d.Tools, asked.Watched)}
	l := &listener{tenant: d.Principal.TenantID, shown: d.Tools, wants: wants, stamp: stamp, news: make(chan struct{}, 1),
		watches: func(uri string) bool { return slices.Contains(wants.Watched, uri) }}
	h.stream(w, r, l, func(s *events) bool {
		ack, err := json.Marshal(l.wants)
		if err != nil {
			return false
		}
		return s.notify("subscriptions/acknowledged", `"notifications":`+string(ack)) && !l.wants.nothing()
	}, func(s *events) {
		s.send(`{"jsonrpc":"2.0","id":` + string(m.id) + `,"result":{` + stamp + `,"resultType":"complete"}}`)
	})
	return true
}

// stream writes events until the request ends, or the gate has no more: first what
// opens it, which reports whether more is to come, then the news, and last what
// closes it.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, l *listener, open func(*events) bool, end func(*events)) {
	if h.opts.Listens != nil {
		if d := h.opts.Listens(r); !d.OK() {
			answer.Fail(w, r, answer.Refusal(d, true))
			return
		}
	}
	h.heard.add(l)
	defer h.heard.remove(l)
	header := w.Header()
	header["Cache-Control"], header["X-Accel-Buffering"] = noCache, []string{"no"}
	header.Set("Content-Type", "text/event-stream")
	s := &events{to: &jsonWriter{ResponseWriter: w, request: r}, listener: l, ctx: r.Context(), watching: h.opts.Watching}
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for more := open(s); more; {
		select {
		case <-s.ctx.Done():
			return
		case <-h.heard.done:
			more = false
		case <-l.news:
			more = s.tell(l.take())
		case <-alive.C:
			more = s.write(": \n\n")
		}
	}
	end(s)
}

// events are written to one stream.
type events struct {
	*listener
	to       *jsonWriter
	ctx      context.Context
	watching func(r *http.Request, uri string) bool
}

func (s *events) tell(news wanted) bool {
	ok := (!news.Tools || s.notify("tools/list_changed", "")) && (!news.Prompts || s.notify("prompts/list_changed", "")) &&
		(!news.Resources || s.notify("resources/list_changed", ""))
	for _, uri := range news.Watched {
		if s.watching != nil && !s.watching(s.to.request, uri) {
			continue // the policy is another since it was asked for
		}
		quoted, err := jsontext.AppendQuote(nil, uri)
		ok = ok && err == nil && s.notify("resources/updated", `"uri":`+string(quoted))
	}
	return ok
}

func (s *events) notify(method, params string) bool {
	if s.stamp != "" && params != "" {
		params = s.stamp + "," + params
	} else {
		params += s.stamp
	}
	return s.send(`{"jsonrpc":"2.0","method":"notifications/` + method + `","params":{` + params + `}}`)
}

func (s *events) send(message string) bool {
	return s.write("event: message\ndata: " + message + "\n\n")
}

func (s *events) write(text string) bool {
	if s.ctx.Err() != nil {
		return false
	}
	if _, err := s.to.Write([]byte(text)); err != nil {
		return false
	}
	s.to.Flush()
	return true
}

// takesEvents reports whether an Accept header takes a stream of events.
func takesEvents(values []string) bool {
	for _, one := range strings.Split(strings.Join(values, ","), ",") {
		kind, _, _ := strings.Cut(one, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "text/event-stream", "text/*", "*/*":
			return true
		}
	}
	return false
}
