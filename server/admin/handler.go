package admin

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
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
	Pprof   bool         // serve /debug/pprof/
	Console http.Handler // of all other paths, GET alone

	// Hosts are names, beside localhost and IP addresses, that may stand in Host: a
	// page on the web that lets its own name resolve to this listener is refused.
	Hosts []string
}

// Handler serves /metrics, /healthz, /readyz and what else is asked for.
func Handler(opts Options) http.Handler {
	hosts := opts.Hosts
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(opts.Metrics.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := opts.Alive(); err != nil {
			write(w, http.StatusServiceUnavailable, map[string]any{"status": err.Error()})
			return
		}
		write(w, http.StatusOK, map[string]any{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, opts.Checks) })
	if opts.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	}
	mux.Handle("GET /", opts.Console)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !knownHost(r.Host, hosts) {
			write(w, http.StatusForbidden, map[string]any{"error": "forbidden",
				"message": "This name is not known for the admin listener; add it to adminHosts."})
			return
		}
		mux.ServeHTTP(w, r)
	})
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

func knownHost(hostport string, hosts []string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.EqualFold(host, "localhost") || slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) })
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
