package server_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// sessions is a cache of one session that can be looked at.
type sessions struct {
	last atomic.Pointer[tls.ClientSessionState]
}

func (s *sessions) Get(string) (*tls.ClientSessionState, bool) {
	state := s.last.Load()
	return state, state != nil
}

func (s *sessions) Put(_ string, state *tls.ClientSessionState) { s.last.Store(state) }

// A resumed session proves no more than a new one: what changed since the
// first handshake is looked at again.
func TestResumption(t *testing.T) {
	t.Parallel()
	edit := func(old, new string) func(*servertest.Gate, *atomic.Int64) {
		return func(g *servertest.Gate, _ *atomic.Int64) {
			g.Configure(func(yaml string) string { return strings.Replace(yaml, old, new, 1) })
		}
	}
	other := pkitest.NewCA(t, "Other")
	const on = "tls: {sessionTickets: true, "
	for _, tc := range []struct {
		name, tls string
		change    func(*servertest.Gate, *atomic.Int64)
		resumed   bool
		handshake string // its result
		status    int
		reason    string
	}{
		{"off by default", "tls: {", func(*servertest.Gate, *atomic.Int64) {}, false, "ok", 200, "ok"},
		{"nothing changed", on, func(*servertest.Gate, *atomic.Int64) {}, true, "ok", 200, "ok"},
		{"nothing changed, TLS 1.2", on + "minVersion: '1.2', ", func(*servertest.Gate, *atomic.Int64) {}, true, "ok", 200, "ok"},
		{"CA added", on, func(g *servertest.Gate, _ *atomic.Int64) {
			g.Change("certificate", func() { g.Write("ca.crt", slices.Concat(g.CA.PEM(), other.PEM())) })
		}, true, "ok", 200, "ok"},
		{"CA removed", on, func(g *servertest.Gate, _ *atomic.Int64) {
			g.Change("certificate", func() { g.Write("ca.crt", other.PEM()) })
		}, false, "untrusted", 0, ""},
		{"certificate expired", on, func(_ *servertest.Gate, ahead *atomic.Int64) { ahead.Store(int64(2 * time.Hour)) }, false, "expired", 0, ""},
		{"tenant disabled", on, edit("  - id: acme\n", "  - id: acme\n    enabled: false\n"), true, "ok", 403, "tenant_disabled"},
		{"tenant lost its rule", on, edit("tenant/acme/*", "tenant/acme/other"), true, "ok", 403, "san_unmapped"},
		{"name is another tenant's", on, func(g *servertest.Gate, _ *atomic.Int64) {
			g.Configure(func(yaml string) string {
				return strings.NewReplacer("tenant/acme/", "tenant/initech/", "tenant/globex/", "tenant/acme/").Replace(yaml)
			})
		}, true, "ok", 403, "tenant_mismatch"},
		{"tickets off", on, edit("sessionTickets: true", "sessionTickets: false"), false, "ok", 200, "ok"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var ahead atomic.Int64
			g := servertest.Start(t, servertest.Options{
				Now:    func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
				Config: func(yaml string) string { return strings.Replace(yaml, "tls: {", tc.tls, 1) }})
			cache := new(sessions)
			client := g.Client(g.Cert("acme"), servertest.HTTP1, func(tr *http.Transport) {
				tr.DisableKeepAlives = true
				tr.TLSClientConfig.ClientSessionCache = cache
				if strings.HasSuffix(tc.name, "1.2") {
					tr.TLSClientConfig.MaxVersion = tls.VersionTLS12
				}
			})
			token := "Authorization: Bearer " + g.Key("acme")
			if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 || res.TLS.DidResume {
				t.Fatalf("first: %s, resumed %t", res.Status, res.TLS.DidResume)
			}
			if state := cache.last.Load(); state != nil {
				if _, session, err := state.ResumptionState(); err != nil || session.EarlyData {
					t.Errorf("early data is offered, or %v", err)
				}
			}
			tc.change(g, &ahead)
			shaken, resumed, decided := g.By(handshakes, "result"), g.By(handshakes, "resumed"), g.By(decisions, "reason")
			res, err := try(t, client, http.MethodGet, g.URL+"/tools", "", token)
			switch {
			case tc.status == 0 && err == nil:
				t.Errorf("second: %s", res.Status)
			case tc.status != 0 && (err != nil || res.StatusCode != tc.status || res.TLS.DidResume != tc.resumed):
				t.Errorf("second: %+v, %v; want %d, resumed %t", res, err, tc.status, tc.resumed)
			}
			wantChange(t, g, handshakes, "result", shaken, map[string]float64{tc.handshake: 1})
			wantChange(t, g, handshakes, "resumed", resumed, map[string]float64{map[bool]string{false: "false", true: "true"}[tc.resumed]: 1})
			want := map[string]float64{}
			if tc.reason != "" {
				want[tc.reason] = 1
			}
			wantChange(t, g, decisions, "reason", decided, want)
		})
	}
}

// TLS 1.2 is refused by default (TestBrokenHandshakes) and counted apart where
// it is let in.
func TestTLS12(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string { return strings.Replace(yaml, "tls: {", "tls: {minVersion: '1.2', ", 1) }})
	for version, name := range map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"} {
		before := g.By(handshakes, "version")
		client := g.Client(g.Cert("acme"), func(tr *http.Transport) { tr.TLSClientConfig.MaxVersion = version })
		if res := ask(t, client, http.MethodGet, g.URL+"/health", ""); res.StatusCode != 200 || res.TLS.Version != version {
			t.Errorf("%s: %s over %x", name, res.Status, res.TLS.Version)
		}
		wantChange(t, g, handshakes, "version", before, map[string]float64{name: 1})
	}
	before := g.By(handshakes, "result")
	if _, err := try(t, g.Client(g.Cert("acme"), func(tr *http.Transport) {
		tr.TLSClientConfig.MinVersion, tr.TLSClientConfig.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	}), http.MethodGet, g.URL+"/health", ""); err == nil {
		t.Error("TLS 1.1 was let in")
	}
	wantChange(t, g, handshakes, "result", before, map[string]float64{"protocol": 1})
}

// A connection that was made for another name, or none, is decided on alike:
// by certificate, token and header alone.
func TestServerNameDecidesNothing(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	for _, name := range []string{"localhost", "gate.example.org", "globex.example.org", "", "127.0.0.1"} {
		for _, host := range []string{"localhost", "gate.example.org"} {
			client := g.Client(g.Cert("acme"), func(tr *http.Transport) {
				tr.TLSClientConfig.ServerName, tr.TLSClientConfig.InsecureSkipVerify = name, true
			})
			for key, status := range map[string]int{"acme": 200, "globex": 403} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/tool/whoami/call", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = host
				req.Header.Set("Authorization", "Bearer "+g.Key(key))
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if res.ProtoMajor != 2 || res.StatusCode != status || status == 200 && !strings.Contains(string(body), `"tenant":"acme"`) {
					t.Errorf("SNI %q, Host %s, key of %s: %s %s", name, host, key, res.Status, body)
				}
			}
		}
	}
}

// Handshakes that stall end by their timeout, and others are served meanwhile.
func TestStalledHandshakes(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string { return yaml + "limits: {handshakeTimeout: 2s, maxHandshakes: 210}\n" }})
	before := g.By(handshakes, "result")
	const stalled = 200
	for i := range stalled {
		conn, err := net.Dial("tcp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			if _, err := io.WriteString(conn, "\x16\x03\x01\x02\x00\x01\x00"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 20 {
		client := g.Client(g.Cert("acme"))
		if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("acme")); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
	}
	servertest.WaitFor(func() bool { return g.By(handshakes, "result")["timeout"] == stalled }, 15*time.Second)
	wantChange(t, g, handshakes, "result", before, map[string]float64{"timeout": stalled, "ok": 20})
}

// A thousand connections that say nothing cost others nothing (they have until
// handshakeTimeout to send a request); one more than maxConnections takes the place
// of the one that is idle for longest, and no other.
func TestIdleConnections(t *testing.T) {
	const idle = 1000
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return yaml + "limits: {maxConnections: 1002, tenantShare: 1, identityShare: 1, handshakeTimeout: 2m}\n"
	}})
	cert, token := g.Cert("acme"), "Authorization: Bearer "+g.Key("acme")
	var wires []*wire
	for range idle {
		wires = append(wires, dialWire(t, g, cert))
	}
	client := g.Client(cert)
	if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_connections_open") == idle+1 }, 5*time.Second) {
		t.Errorf("%v connections open, want %d", g.Metric("sangate_connections_open"), idle+1)
	}
	wires = append(wires, dialWire(t, g, cert))
	late := g.Client(cert)
	if res := ask(t, late, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
		t.Fatalf("one more than maxConnections: %s", res.Status)
	}
	if got := g.Metric("sangate_connections_dropped_total", "reason", "identity_share"); got != 1 {
		t.Errorf("%v connections dropped for identity_share, want 1", got)
	}
	if err := wires[0].SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := wires[0].Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("read on the oldest idle connection: %v, want it closed", err)
	}
	for _, w := range wires {
		_ = w.Close()
	}
}
