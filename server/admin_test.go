package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// adminGet asks the admin listener under a Host of choice.
func adminGet(t *testing.T, g *servertest.Gate, method, path, host string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.AdminURL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func TestAdminHosts(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: func(y string) string { return y + "adminHosts: [metrics.internal]\n" }})
	for _, tc := range []struct {
		host   string
		status int
	}{
		{"", 200}, {"127.0.0.1", 200}, {"[::1]:9090", 200}, {"localhost", 200}, {"LOCALHOST:9090", 200}, {"10.1.2.3:9090", 200},
		{"metrics.internal:9090", 200}, {"Metrics.Internal", 200},
		{"evil.example", 403}, {"evil.example:9090", 403}, {"127.0.0.1.evil.example", 403}, {"localhost.evil.example", 403}, {"metrics.internal.", 403},
	} {
		for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
			if status, body := adminGet(t, g, http.MethodGet, path, tc.host); status != tc.status || status == 403 && strings.Contains(body, "sangate_") {
				t.Errorf("GET %s with Host %q: %d, want %d", path, tc.host, status, tc.status)
			}
		}
	}
	for _, ask := range []string{"POST /metrics", "DELETE /readyz", "PUT /healthz"} {
		method, path, _ := strings.Cut(ask, " ")
		if status, _ := adminGet(t, g, method, path, ""); status != 405 {
			t.Errorf("%s: %d, want 405: nothing on it changes anything", ask, status)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	g := servertest.Start(t, servertest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	ready := func() (int, bool, string) {
		status, body := adminGet(t, g, http.MethodGet, "/readyz", "")
		var r struct {
			Ready  bool
			Checks map[string]string
		}
		if err := json.Unmarshal([]byte(body), &r); err != nil || r.Checks["store"] != "ok" {
			t.Fatalf("/readyz: %s: %v", body, err)
		}
		return status, r.Ready, r.Checks["certificate"]
	}
	for _, tc := range []struct {
		name   string
		ahead  time.Duration
		status int
		said   string
	}{
		{"now", 0, 200, "ok"},
		{"after it expired", 2 * time.Hour, 503, "expired at"},
		{"before it is valid", -2 * time.Hour, 503, "not valid before"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ahead.Store(int64(tc.ahead))
			status, ok, said := ready()
			if status != tc.status || ok != (status == 200) || !strings.Contains(said, tc.said) {
				t.Errorf("%d, ready %t, certificate %q; want %d, %q", status, ok, said, tc.status, tc.said)
			}
			if status, body := adminGet(t, g, http.MethodGet, "/healthz", ""); status != 200 || strings.TrimSpace(body) != `{"status":"ok"}` {
				t.Errorf("/healthz: %d %s; it is alive all the same", status, body)
			}
		})
	}
}

// Every reason has its series at zero before anything happened, and no other.
func TestCountersFromTheStart(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	for stage, reason := range auth.Reasons {
		if got := g.Metric(decisions, "stage", string(stage), "reason", string(reason)); got != 0 {
			t.Errorf("%s %s = %v at the start", stage, reason, got)
		}
	}
	for _, reason := range pki.HandshakeReasons() {
		if got := g.Metric("sangate_tls_handshakes_total", "result", string(reason)); got != 0 {
			t.Errorf("handshake %s = %v at the start", reason, got)
		}
	}
	for _, name := range []string{"sangate_certificate_reloads_total", "sangate_config_reloads_total"} {
		for _, result := range []string{"ok", "error"} {
			if got := g.Metric(name, "result", result); got != 0 {
				t.Errorf("%s %s = %v at the start", name, result, got)
			}
		}
	}
	for _, name := range []string{"sangate_connections_open", "sangate_streams_open"} {
		if got := g.Metric(name); got != 0 {
			t.Errorf("%s = %v at the start", name, got)
		}
	}
	if g.Metric("sangate_build_info", "version", "test") != 1 || g.Metric("sangate_certificate_not_after_timestamp_seconds", "role", "server") < float64(time.Now().Unix()) {
		t.Error("build info or the server certificate's date is wrong")
	}
}

// A bad file on reload is counted, shown nowhere to the peer, and changes
// nothing; the good one after it is taken.
func TestBadConfigurationKeepsTheOld(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	client, file := g.Client(g.Cert("acme")), filepath.Join(g.Dir, "sangate.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	call := func() int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+"/tools", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+g.Key("acme"))
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	reloads := func(result string) float64 { return g.Metric("sangate_config_reloads_total", "result", result) }
	for _, step := range []struct {
		name, text, result string
		status             int
	}{
		{"not YAML", "tenants: [", "error", 200},
		{"a rule for two", string(good) + "  - id: initech\n    sans: [\"uri:spiffe://example.org/tenant/acme/*\"]\n", "error", 200},
		{"empty", "", "error", 200},
		{"acme is disabled", strings.Replace(string(good), "  - id: acme\n", "  - id: acme\n    enabled: false\n", 1), "ok", 403},
		{"acme is back", string(good), "ok", 200},
	} {
		before := reloads(step.result)
		if err := os.WriteFile(file, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if !servertest.WaitFor(func() bool { return reloads(step.result) > before }, 10*time.Second) {
			t.Fatalf("%s: no reload counted as %s", step.name, step.result)
		}
		if got := call(); got != step.status {
			t.Errorf("%s: GET /tools = %d, want %d", step.name, got, step.status)
		}
	}
}

// A file that does not load is told, and no reason to send clients elsewhere; a
// gate that drains is one.
func TestReadyTells(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{{Name: "wait", InputSchema: json.RawMessage(`{"type":"object"}`),
		Handler: func(ctx context.Context, _ *tool.Call) (*tool.Result, error) {
			<-release
			return tool.Text("done"), nil
		}}},
		Config: func(yaml string) string {
			return strings.Replace(yaml, "    keys:", "    tools: {allow: [wait]}\n    keys:", 1)
		}})
	good, err := os.ReadFile(filepath.Join(g.Dir, "sangate.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	g.Write("sangate.yaml", []byte("tenants: [\n"))
	says := func(status int, part string) func() bool {
		return func() bool {
			got, body := adminGet(t, g, http.MethodGet, "/readyz", "")
			return got == status && strings.Contains(body, part)
		}
	}
	if !servertest.WaitFor(says(200, `"config":"ok: what is in force stays, the files do not load: `), 10*time.Second) {
		t.Error("it does not tell of the file that does not load")
	}
	g.Write("sangate.yaml", good)
	if !servertest.WaitFor(says(200, `"config":"ok"`), 10*time.Second) {
		t.Error("it goes on telling")
	}
	called := make(chan int, 1)
	go func() {
		res, err := try(t, g.Client(g.Cert("acme")), http.MethodPost, g.URL+"/tool/wait/call", "{}", asJSON, jwtOf(g.Key("acme")))
		if err != nil {
			called <- 0
			return
		}
		called <- res.StatusCode
	}()
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_streams_open") == 1 }, 10*time.Second) {
		t.Fatal("the call does not begin")
	}
	done := g.Stop()
	if !servertest.WaitFor(says(503, `"serving":"it drains`), 10*time.Second) {
		t.Error("it does not tell that it drains")
	}
	close(release)
	if status := <-called; status != http.StatusOK {
		t.Errorf("the call in progress: %d", status)
	}
	<-done
}

// Profiles are there when configured, and only then.
func TestPprof(t *testing.T) {
	t.Parallel()
	for _, configured := range []bool{false, true} {
		g := servertest.Start(t, servertest.Options{Config: func(yaml string) string { return fmt.Sprintf("%sadminPprof: %t\n", yaml, configured) }})
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1"} {
			if status, _ := adminGet(t, g, http.MethodGet, path, ""); (status == 200) != configured {
				t.Errorf("configured %t: GET %s: %d", configured, path, status)
			}
		}
		if status, _ := adminGet(t, g, http.MethodGet, "/debug/pprof/heap", "evil.example"); configured && status != 403 {
			t.Errorf("under another name: %d", status)
		}
	}
}

// So many connections are open at once, and no more: the one that is idle for longest
// makes room for a probe, and no other.
func TestAdminConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	g := newAdminGate(t, "", nil)
	addr := strings.TrimPrefix(g.AdminURL, "http://")
	var open []net.Conn
	for range 256 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		open = append(open, conn)
	}
	dropped := func() float64 { return g.Metric("sangate_connections_dropped_total", "reason", "admin_full") }
	status, _ := get(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, g.AdminURL+"/healthz", "")
	if status != 200 {
		t.Errorf("probe beside 256 connections: status %d, want 200", status)
	}
	closed := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Second)) // Read says what is wrong
		_, err := c.Read(make([]byte, 1))
		return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	}
	if !closed(open[0]) {
		t.Error("the oldest connection is still open")
	}
	if n := dropped(); n < 1 {
		t.Errorf("%v connections dropped for admin_full, want at least 1", n)
	}
	if closed(open[255]) {
		t.Error("the newest silent connection was closed, too")
	}
}
