package server

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/api"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/octopus"
)

// Bounds on slow peers: how long head and body of a request may take to arrive,
// and how long an answer may take to be read once the tool has had its time.
// Event streams have their own for each event. Who takes nothing at all for
// limits.stallTimeout is cut before.
const (
	bodyDeadline   = 10 * time.Second
	answerDeadline = 30 * time.Second
)

// ServeHTTP gives every request an id and refuses what no route should see. The
// certificate is looked at first, so that nothing, not even which paths and
// methods there are, is told to one that is no longer good.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	q := begin(w, r, start)
	defer q.conn.occupied()()
	defer answer.Caught(s.log, q.id)
	defer s.end(q)
	_ = http.NewResponseController(w).SetWriteDeadline(start.Add(s.limits.ToolTimeout + answerDeadline))
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// A Content-Length may have stood beside it, and net/http does not
		// tell: what follows must not be taken for a request (RFC 9112, 6.1).
		w.Header().Set("Connection", "close")
	}
	retiring(w, q.conn, s.opts.Now())
	out := s.answering(q, w)
	defer out.end()
	s.enter(out, q)
	if !out.admitted {
		out.finish()
	}
}

// enter looks at what every request needs, and lets it go on to its route.
func (s *Server) enter(w http.ResponseWriter, q *request) {
	r := q.http
	if !s.carried(w, q) {
		return
	}
	if d := s.gate.CheckCertificate(q.asked.Peer, q.via); !d.OK() {
		s.record(q, &d, time.Since(q.began))
		answer.Fail(w, q.http, answer.Refusal(&d, q.tokenSent()))
		return
	}
	switch {
	case !plainPath(r):
		answer.Fail(w, r, answer.NotFound)
	case !s.ownHost(r) || crossOrigin.Check(r) != nil || !sameOrigin(r):
		s.repeated.Info("request of a foreign Host or Origin refused", "requestId", q.id, "remote", r.RemoteAddr)
		answer.Note(q, answer.Forbidden.Code, fmt.Sprintf("foreign Host %q or Origin %q", r.Host, r.Header["Origin"]))
		answer.Fail(w, r, answer.Forbidden)
	default:
		s.route(w, q)
	}
}

// route finds the handler of a path. Requests get its pattern, for the audit log.
func (s *Server) route(w http.ResponseWriter, q *request) {
	r := q.http
	switch path := r.URL.Path; path {
	case "/mcp":
		r.Pattern = path
		switch r.Method {
		case http.MethodPost:
			s.admitted(w, q, s.mcp.Post)
		case http.MethodDelete:
			s.admitted(w, q, s.mcp.Delete)
		case http.MethodGet:
			s.admitted(w, q, s.mcp.Get)
		default:
			notAllowed(w, r, "DELETE, GET, POST")
		}
	case "/tools":
		if only(w, r, path, http.MethodGet) {
			s.admitted(w, q, s.octopus.List)
		}
	case "/health":
		if only(w, r, path, http.MethodGet) {
			answer.JSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
		}
	case answer.MetadataPath, answer.MetadataPath + "/mcp":
		if only(w, r, path, http.MethodGet) {
			s.metadata(w, r)
		}
	default:
		name, ok := octopus.ToolName(path)
		switch {
		case ok:
			if only(w, r, octopus.CallPattern, http.MethodPost) {
				s.admitted(w, q, func(w http.ResponseWriter, r *http.Request) { s.octopus.Call(w, r, name) })
			}
		case strings.HasPrefix(path, "/api/"):
			_, r.Pattern = s.api.Handler(r)
			s.administered(w, q, s.api) // nobody but admins is told what there is below
		default:
			answer.Fail(w, r, answer.NotFound)
		}
	}
}

// only notes a request's pattern, and answers any method but one.
func only(w http.ResponseWriter, r *http.Request, pattern, method string) bool {
	r.Pattern = pattern
	if r.Method != method {
		notAllowed(w, r, method)
		return false
	}
	return true
}

func notAllowed(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	answer.Fail(w, r, answer.MethodNotAllowed)
}

// apiRoutes is what there is below /api.
func (s *Server) apiRoutes() *http.ServeMux {
	routes := http.NewServeMux()
	routes.Handle("/api/revocations", methods{http.MethodGet: s.revocations.List, http.MethodPost: s.revocations.Add})
	routes.Handle("/api/revocations/{id}", methods{http.MethodDelete: s.revocations.Delete})
	routes.Handle("/api/keys", methods{http.MethodGet: s.keys.List, http.MethodPost: s.keys.Mint})
	routes.Handle("/api/keys/{id}", methods{http.MethodDelete: s.keys.Revoke})
	routes.Handle("/api/keys/{id}/rotate", methods{http.MethodPost: s.keys.Rotate})
	tenants := &api.Tenants{Configured: func() []config.Tenant { return s.config.Load().Tenants }}
	routes.Handle("/api/tenants", methods{http.MethodGet: tenants.List})
	routes.Handle("/api/tenants/{id}", methods{http.MethodGet: tenants.Get})
	routes.Handle("/api/credentials", methods{http.MethodGet: s.credentials.List, http.MethodPost: s.credentials.Add})
	routes.Handle("/api/credentials/{id}", methods{http.MethodGet: s.credentials.Get, http.MethodPatch: s.credentials.Update, http.MethodDelete: s.credentials.Delete})
	routes.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) { answer.Fail(w, r, answer.NotFound) })
	return routes
}

var crossOrigin = http.NewCrossOriginProtection()

// sameOrigin refuses a foreign Origin whatever the method: the Model Context
// Protocol wants 403 for it, and no page of another site has business here.
func sameOrigin(r *http.Request) bool {
	return !slices.ContainsFunc(r.Header["Origin"], func(origin string) bool {
		return !strings.EqualFold(origin, "https://"+r.Host)
	})
}

// plainPath accepts paths without empty, "." and ".." segments, and without
// slashes that are part of a segment.
func plainPath(r *http.Request) bool {
	p := r.URL.Path
	return strings.HasPrefix(p, "/") && (p == "/" || path.Clean(p) == p) && r.URL.Host == "" &&
		(r.URL.RawPath == "" || !strings.Contains(strings.ToLower(r.URL.RawPath), "%2f"))
}

// ownHost refuses names that a browser on this machine could have been led here
// by: on loopback, Host must be loopback's or one that our certificate carries.
func (s *Server) ownHost(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	addr, ok := local.(*net.TCPAddr)
	if !ok || !addr.IP.IsLoopback() {
		return true
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	if ip, err := netip.ParseAddr(host); strings.EqualFold(host, "localhost") || (err == nil && ip.IsLoopback()) {
		return true
	}
	return s.gate.Snapshot().PKI.Certificate.Leaf.VerifyHostname(host) == nil
}

// methods are the handlers of one path.
type methods map[string]http.HandlerFunc

func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := m[r.Method]; ok {
		h(w, r)
		return
	}
	notAllowed(w, r, strings.Join(slices.Sorted(maps.Keys(m)), ", "))
}
