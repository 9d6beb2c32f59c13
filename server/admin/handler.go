package admin

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sangate/sangate/server/answer"
)

// A Check is one thing readiness depends on; it returns what is wrong, or what is
// worth a note all the same.
type Check struct {
	Name string
	Fn   func(ctx context.Context) (note string, err error)
}

// Options of the listener.
type Options struct {
	Metrics *Metrics
	Checks  []Check      // of /readyz
	Alive   func() error // of /healthz
	Pprof   func() bool  // serve /debug/pprof/
	Console http.Handler // of all other paths, GET alone

	// Hosts are names, beside localhost and IP addresses, that may stand in Host: a
	// page on the web that lets its own name resolve to this listener is refused.
	Hosts func() []string

	Listener *Listener // that requests come from
	Turns    *Turns    // of answers that cost much
	Log      *slog.Logger
}

// Handler serves /metrics, /healthz, /readyz and what else is asked for.
func Handler(opts Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", opts.Turns.handler(promhttp.HandlerFor(opts.Metrics.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true})))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := opts.Alive(); err != nil {
			write(w, http.StatusServiceUnavailable, map[string]any{"status": err.Error()})
			return
		}
		write(w, http.StatusOK, map[string]any{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, opts.Checks) })
	profiles := http.NewServeMux()
	profiles.HandleFunc("GET /debug/pprof/", pprof.Index)
	profiles.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	profiles.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/", func(w http.ResponseWriter, r *http.Request) {
		if !opts.Pprof() {
			http.NotFound(w, r)
			return
		}
		profiles.ServeHTTP(w, r)
	})
	mux.Handle("GET /", opts.Console)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer answer.Caught(opts.Log, "")
		if paced(r) != nil {
			return // the client is gone
		}
		left, err := opts.Listener.admit(r)
		switch {
		case err != nil:
			w.Header().Set("Connection", "close")
			refuse(w, http.StatusUnauthorized, "unauthorized", err.Error()+".")
			return
		case !opts.Listener.knownHost(r.Host, opts.Hosts()):
			refuse(w, http.StatusForbidden, "forbidden", "This name is not known for the admin listener; add it to adminHosts.")
			return
		case left > 0:
			ctx, cancel := context.WithTimeout(r.Context(), left)
			defer cancel()
			r = r.WithContext(ctx)
		}
		mux.ServeHTTP(w, r)
	})
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	write(w, status, map[string]any{"error": code, "message": message})
}

func ready(w http.ResponseWriter, r *http.Request, checks []Check) {
	status, results := http.StatusOK, make(map[string]string, len(checks))
	for _, c := range checks {
		results[c.Name] = "ok"
		switch note, err := c.Fn(r.Context()); {
		case err != nil:
			status, results[c.Name] = http.StatusServiceUnavailable, err.Error()
		case note != "":
			results[c.Name] += ": " + note
		}
	}
	write(w, status, map[string]any{"ready": status == http.StatusOK, "checks": results})
}

func (l *Listener) knownHost(hostport string, hosts []string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.EqualFold(host, "localhost") || slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) }) ||
		l.shows(host)
}

func write(w http.ResponseWriter, status int, body any) {
	out, err := json.Marshal(body)
	if err != nil {
		status, out = http.StatusInternalServerError, []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(out, '\n')) // the peer may be gone
}
