package server

import (
	"crypto/rand"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
)

// Bounds on slow peers: how long an unread body may hold a connection, and how
// long an answer may take to be read once the tool has had its time. Event
// streams have their own for each event.
const (
	bodyDeadline   = 10 * time.Second
	answerDeadline = 30 * time.Second
)

// handler routes a request.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	route := func(pattern, method string, h http.HandlerFunc) {
		mux.HandleFunc(pattern, methods{method: h}.ServeHTTP)
	}
	route("/health", http.MethodGet, func(w http.ResponseWriter, _ *http.Request) {
		answer.JSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
	})
	route("/tools", http.MethodGet, s.admitted(s.octopus.List))
	route("/tool/{name}/call", http.MethodPost, s.admitted(s.octopus.Call))
	mux.Handle("/mcp", methods{http.MethodPost: s.admitted(s.mcp.Post), http.MethodDelete: s.admitted(s.mcp.Delete)})
	route(answer.MetadataPath, http.MethodGet, s.metadata)
	route(answer.MetadataPath+"/mcp", http.MethodGet, s.metadata)
	// Nobody but admins is told what there is below /api.
	api := http.NewServeMux()
	api.Handle("/api/revocations", methods{http.MethodGet: s.revocations.List, http.MethodPost: s.revocations.Add})
	api.Handle("/api/revocations/{id}", methods{http.MethodDelete: s.revocations.Delete})
	api.Handle("/api/keys", methods{http.MethodGet: s.keys.List, http.MethodPost: s.keys.Mint})
	api.Handle("/api/keys/{id}", methods{http.MethodDelete: s.keys.Revoke})
	api.Handle("/api/keys/{id}/rotate", methods{http.MethodPost: s.keys.Rotate})
	api.Handle("/api/credentials", methods{http.MethodGet: s.credentials.List, http.MethodPost: s.credentials.Add})
	api.Handle("/api/credentials/{id}", methods{http.MethodGet: s.credentials.Get, http.MethodPatch: s.credentials.Update, http.MethodDelete: s.credentials.Delete})
	api.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { answer.Fail(w, r, answer.NotFound) })
	mux.HandleFunc("/api/", s.administered(api.ServeHTTP))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { answer.Fail(w, r, answer.NotFound) })
	return s.entrance(mux)
}

// entrance gives every request an id and refuses what no route should see. The
// certificate is looked at first, so that nothing, not even which paths and
// methods there are, is told to one that is no longer good.
func (s *Server) entrance(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := rand.Text()
		w.Header().Set("X-Request-Id", id)
		r = r.WithContext(answer.WithRequestID(r.Context(), id))
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Now().Add(s.limits.ToolTimeout + answerDeadline))
		if r.Body != nil && r.Body != http.NoBody {
			_ = rc.SetReadDeadline(time.Now().Add(bodyDeadline))
		}
		if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
			// A Content-Length may have stood beside it, and net/http does not
			// tell: what follows must not be taken for a request (RFC 9112, 6.1).
			w.Header().Set("Connection", "close")
		}
		retiring(w, r, s.opts.Now())
		start := time.Now()
		r, ok := s.carried(w, r)
		if !ok {
			return
		}
		if d := s.gate.CheckCertificate(peerOf(r), viaOf(r)); !d.OK() {
			s.record(r, &d, time.Since(start))
			answer.Fail(w, r, answer.Refusal(&d, len(r.Header["Authorization"]) > 0))
			return
		}
		switch {
		case !plainPath(r):
			answer.Fail(w, r, answer.NotFound)
		case !s.ownHost(r) || crossOrigin.Check(r) != nil || !sameOrigin(r):
			s.log.Info("request refused", "reason", "foreign Host or Origin", "requestId", id, "remote", r.RemoteAddr)
			answer.Fail(w, r, answer.Forbidden)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

var crossOrigin = http.NewCrossOriginProtection()

// sameOrigin refuses a foreign Origin whatever the method: the Model Context
// Protocol wants 403 for it, and no page of another site has business here.
func sameOrigin(r *http.Request) bool {
	return !slices.ContainsFunc(r.Header["Origin"], func(origin string) bool {
		return !strings.EqualFold(origin, "https://"+r.Host)
	})
}

// plainPath accepts paths that ServeMux would not redirect.
func plainPath(r *http.Request) bool {
	p := r.URL.Path
	return strings.HasPrefix(p, "/") && (p == "/" || path.Clean(p) == p) && r.URL.Host == ""
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
	w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(m)), ", "))
	answer.Fail(w, r, answer.MethodNotAllowed)
}

// admitted wraps what needs certificate, token and tenant to agree. A request
// that is refused is recorded here, one that is admitted when its tool is known,
// by admit.
func (s *Server) admitted(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.decided(w, r, auth.RequestOf(peerOf(r), viaOf(r), r.Header), next)
	}
}

// administered wraps what is for admins, who stand in the place of a tenant.
func (s *Server) administered(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		request := auth.RequestOf(peerOf(r), viaOf(r), r.Header)
		request.Admin = true
		s.decided(w, r, request, func(w http.ResponseWriter, r *http.Request) {
			s.admit(r, "", nil)
			next(w, r)
		})
	}
}
