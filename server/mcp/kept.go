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

// Bounds of the sessions that something is remembered for. A session beyond a bound takes
// the place of the one within it that was changed longest ago.
const (
	maxKept         = 10_000
	maxKeptTenant   = 2_000
	maxKeptIdentity = 200
)

// A kept is what is remembered for a session.
type kept struct {
	id               sessionID
	tenant, identity string
	changed          uint64 // when; counts up

	watched []string // URIs of resources
	level   string   // of logs; "": the SDK's own
}

// keeper remembers it, bounded, in this process: the stream of a session has to be
// where its other requests are.
type keeper struct {
	mu      sync.Mutex
	kept    map[sessionID]*kept
	tenants map[string]map[string]map[sessionID]*kept // the same, by tenant and identity
	changes uint64
}

// change calls do with what is kept for a session of the principal.
func (k *keeper) change(p *auth.Principal, id sessionID, do func(*kept)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil {
		k.kept, k.tenants = make(map[sessionID]*kept), make(map[string]map[string]map[sessionID]*kept)
	}
	s := k.kept[id]
	if s == nil {
		k.makeRoom(p)
		s = &kept{id: id, tenant: p.TenantID, identity: p.Key}
		k.insert(s)
	}
	k.changes++
	s.changed = k.changes
	do(s)
}

// makeRoom removes a session for one of p if a bound is reached: of the identity, of the
// identity of the tenant that has most, or of the tenant that has most.
func (k *keeper) makeRoom(p *auth.Principal) {
	tenant := k.tenants[p.TenantID]
	switch {
	case len(tenant[p.Key]) >= maxKeptIdentity:
		k.remove(oldest(tenant[p.Key]))
	case held(tenant) >= maxKeptTenant:
		k.remove(oldest(largest(tenant)))
	case len(k.kept) >= maxKept:
		for _, other := range k.tenants {
			if held(other) > held(tenant) {
				tenant = other
			}
		}
		k.remove(oldest(largest(tenant)))
	}
}

func held(identities map[string]map[sessionID]*kept) (n int) {
	for _, sessions := range identities {
		n += len(sessions)
	}
	return n
}

func largest(identities map[string]map[sessionID]*kept) (most map[sessionID]*kept) {
	for _, sessions := range identities {
		if len(sessions) > len(most) {
			most = sessions
		}
	}
	return most
}

func oldest(sessions map[sessionID]*kept) (first *kept) {
	for _, s := range sessions {
		if first == nil || s.changed < first.changed {
			first = s
		}
	}
	return first
}

func (k *keeper) insert(s *kept) {
	identities := k.tenants[s.tenant]
	if identities == nil {
		identities = make(map[string]map[sessionID]*kept)
		k.tenants[s.tenant] = identities
	}
	if identities[s.identity] == nil {
		identities[s.identity] = make(map[sessionID]*kept)
	}
	k.kept[s.id], identities[s.identity][s.id] = s, s
}

func (k *keeper) remove(s *kept) {
	delete(k.kept, s.id)
	identities := k.tenants[s.tenant]
	delete(identities[s.identity], s.id)
	if len(identities[s.identity]) == 0 {
		delete(identities, s.identity)
	}
	if len(identities) == 0 {
		delete(k.tenants, s.tenant)
	}
}

func (k *keeper) forget(id sessionID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.kept[id]; s != nil {
		k.remove(s)
	}
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
	uri, d := said.Params.URI, auth.DecisionFrom(r.Context())
	switch can := watchedOf(d.Tools); {
	case m.method == methodSubscribe && can[uri]:
		h.kept.change(&d.Principal, id, func(k *kept) {
			if !slices.Contains(k.watched, uri) && len(k.watched) < maxWatched {
				k.watched = append(k.watched, uri)
			}
		})
	case m.method == methodUnsubscribe && can[uri]:
		h.kept.change(&d.Principal, id, func(k *kept) { k.watched = slices.DeleteFunc(k.watched, func(u string) bool { return u == uri }) })
	case m.method == methodSetLevel && slices.Contains(levels, said.Params.Level):
		h.kept.change(&d.Principal, id, func(k *kept) { k.level = said.Params.Level })
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
	d := h.opts.Expect(r, "")
	if !d.OK() {
		answer.Fail(w, r, answer.Refusal(d, true))
		return
	}
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
