package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// second is how long the gate may take to act on what changed. The race
// detector makes it slower than it is.
var second = map[bool]time.Duration{false: time.Second, true: 5 * time.Second}[pkitest.Race]

// waiting is a tool that lasts until its context ends, or until release is
// closed. It tells when a call began.
func waiting(t *testing.T) (wait *tool.Tool, began chan string, release chan struct{}) {
	t.Helper()
	began, release = make(chan string, 100), make(chan struct{})
	wait = &tool.Tool{Name: "wait", Builtin: true, InputSchema: json.RawMessage(`{"type":"object"}`),
		Handler: func(ctx context.Context, call *tool.Call) (*tool.Result, error) {
			began <- call.Caller.Tenant
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-release:
				return tool.Text("done"), nil
			}
		}}
	if err := wait.Compile(); err != nil {
		t.Fatal(err)
	}
	return wait, began, release
}

type outcome struct {
	res *http.Response
	err error
}

// start asks, and returns where the answer will be.
func start(t *testing.T, c *http.Client, url, body string, headers ...string) <-chan outcome {
	t.Helper()
	end := make(chan outcome, 1)
	go func() {
		res, err := try(t, c, http.MethodPost, url, body, headers...)
		end <- outcome{res, err}
	}()
	return end
}

func waitMCP(revision string) (body string, headers []string) {
	headers = []string{asJSON, accept, "MCP-Protocol-Version: " + revision}
	if revision != "2026-07-28" {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wait","arguments":{}}}`, headers
	}
	return stateless("tools/call", `"name":"wait","arguments":{},`), append(headers, "Mcp-Method: tools/call", "Mcp-Name: wait")
}

// openStream opens a stream of events and waits for the first; what it returns is
// closed when the stream ends.
func openStream(t *testing.T, c *http.Client, method, url, body string, headers ...string) <-chan struct{} {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	if _, err := io.ReadFull(res.Body, make([]byte, 4)); err != nil || res.StatusCode != 200 {
		t.Fatalf("no stream: %s, %v", res.Status, err)
	}
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, res.Body) // how it ends is not the point
		_ = res.Body.Close()
	}()
	return ended
}

// What turns false while a connection is open and calls are running: the calls
// and streams end within a second, the next request is refused, and where it was the
// certificate, the connection is closed. Another tenant notices nothing.
//
// Holds: client/expired-while-connected
func TestNoLongerGood(t *testing.T) {
	edit := func(old, new string) func(*testing.T, *servertest.Gate, *atomic.Int64) {
		return func(_ *testing.T, g *servertest.Gate, _ *atomic.Int64) {
			g.Configure(func(yaml string) string { return strings.Replace(yaml, old, new, 1) })
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*testing.T, *servertest.Gate, *atomic.Int64)
		status int
		reason string
		again  string // the reason of the handshake, where the connection is closed
	}{
		{"certificate expires", func(_ *testing.T, _ *servertest.Gate, ahead *atomic.Int64) {
			ahead.Store(int64(31 * time.Minute))
		}, 401, "cert_expired", "expired"},
		{"CA removed", func(t *testing.T, g *servertest.Gate, _ *atomic.Int64) {
			g.Change("certificate", func() {
				g.Write("ca.crt", slices.Concat(pkitest.NewCA(t, "New").PEM(), mustRead(t, g, "globex-ca.crt")))
			})
		}, 401, "cert_untrusted", "untrusted"},
		{"tenant disabled", edit("  - id: acme\n", "  - id: acme\n    enabled: false\n"), 403, "tenant_disabled", ""},
		{"tenant lost its rule", edit("tenant/acme/*", "tenant/acme/other"), 403, "san_unmapped", ""},
		{"tenant removed", func(_ *testing.T, g *servertest.Gate, _ *atomic.Int64) {
			g.Configure(func(yaml string) string {
				return yaml[:strings.Index(yaml, "  - id: acme")] + yaml[strings.Index(yaml, "  - id: globex"):]
			})
		}, 403, "san_unmapped", ""},
		{"two tenants now", func(_ *testing.T, g *servertest.Gate, _ *atomic.Int64) {
			g.Configure(func(yaml string) string { return yaml + "  - {id: initech, sans: [\"dns:agent.example\"]}\n" })
		}, 403, "san_ambiguous", ""},
		{"key removed", func(_ *testing.T, g *servertest.Gate, _ *atomic.Int64) {
			g.Configure(func(yaml string) string {
				before, rest, _ := strings.Cut(yaml, "    keys: ")
				_, after, _ := strings.Cut(rest, "\n")
				return before + after
			})
		}, 401, "token_unknown", ""},
		{"certificate is denied", func(_ *testing.T, g *servertest.Gate, _ *atomic.Int64) {
			g.Write("denied", []byte("san:uri:"+acmeURI+"\n"))
			g.Configure(func(yaml string) string {
				return strings.Replace(yaml, "clientCA:", "revocation: {denylist: denied}, clientCA:", 1)
			})
		}, 401, "cert_revoked", "revoked"},
		{"key expires", func(_ *testing.T, _ *servertest.Gate, ahead *atomic.Int64) {
			ahead.Store(int64(21 * time.Minute))
		}, 401, "token_expired", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			noLongerGood(t, tc.change, tc.status, tc.reason, tc.again)
		})
	}
}

func noLongerGood(t *testing.T, change func(*testing.T, *servertest.Gate, *atomic.Int64), status int, reason, again string) {
	var ahead atomic.Int64
	wait, began, release := waiting(t)
	globexCA := pkitest.NewCA(t, "Globex CA")
	keyEnd := ""
	if reason == "token_expired" {
		keyEnd = "notAfter: " + time.Now().Add(20*time.Minute).UTC().Format(time.RFC3339) + ", "
	}
	g := startAt(t, &ahead, wait, globexCA, keyEnd)
	cert := g.CA.Issue(t, pkitest.Leaf{URIs: []string{acmeURI}, DNS: []string{"agent.example"}, NotAfter: time.Now().Add(30 * time.Minute)})
	token := "Authorization: Bearer " + g.Key("acme")

	globex := start(t, g.Client(globexCA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/globex/agent"}})),
		g.URL+"/tool/wait/call", "{}", asJSON, "Authorization: Bearer "+g.Key("globex"))
	calls := make(map[string]<-chan outcome)
	streams := make(map[string]<-chan struct{})
	var kept []*http.Client
	for name, opts := range map[string][]servertest.ClientOption{"HTTP/1.1": {servertest.HTTP1}, "HTTP/2": nil} {
		calls[name+" Octopus"] = start(t, g.Client(cert, opts...), g.URL+"/tool/wait/call", "{}", asJSON, token)
		for _, revision := range []string{"2026-07-28", "2025-06-18"} {
			body, headers := waitMCP(revision)
			calls[name+" MCP "+revision] = start(t, g.Client(cert, opts...), g.URL+"/mcp", body, append(headers, token)...)
		}
		streams[name+" listen"] = openStream(t, g.Client(cert, opts...), http.MethodPost, g.URL+"/mcp",
			stateless("subscriptions/listen", `"notifications":{"toolsListChanged":true},`), asJSON, accept, "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen", token)
		session := begin(t, g.Client(cert, opts...), g.URL+"/mcp", "2025-11-25", token)
		streams[name+" GET"] = openStream(t, g.Client(cert, opts...), http.MethodGet, g.URL+"/mcp", "", accept, "Mcp-Session-Id: "+session, token)
		client := g.Client(cert, opts...)
		if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
			t.Fatalf("before: %s", res.Status)
		}
		kept = append(kept, client)
	}
	for range len(calls) + 1 {
		<-began
	}
	before := g.By(decisions, "reason")
	change(t, g, &ahead)
	limit, code := time.After(second), map[int]string{401: "unauthorized", 403: "forbidden"}[status]
	for name, end := range calls {
		select {
		case o := <-end:
			if o.err != nil {
				t.Fatalf("%s: %v", name, o.err)
			}
			wantError(t, o.res, status, code)
		case <-limit:
			t.Fatalf("%s: not ended within %v", name, second)
		}
	}
	for name, end := range streams {
		select {
		case <-end:
		case <-limit:
			t.Fatalf("%s: not ended within %v", name, second)
		}
	}
	for _, client := range kept {
		wantError(t, ask(t, client, http.MethodGet, g.URL+"/tools", "", token), status, code)
	}
	wantChange(t, g, decisions, "reason", before, map[string]float64{reason: float64(len(calls) + len(streams) + len(kept))})
	shaken := g.By(handshakes, "result")
	for _, client := range kept { // on the same connection, unless that was closed
		res, err := try(t, client, http.MethodGet, g.URL+"/health", "")
		if again == "" && (err != nil || res.StatusCode != 200) || again != "" && err == nil {
			t.Errorf("the next request: %v, %v", res, err)
		}
	}
	want := map[string]float64{}
	if again != "" {
		want[again] = float64(len(kept))
	}
	wantChange(t, g, handshakes, "result", shaken, want)
	close(release)
	if o := <-globex; o.err != nil || o.res.StatusCode != 200 {
		t.Errorf("globex's call: %+v", o)
	}
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_streams_open") == 0 }, 5*time.Second) {
		t.Errorf("%v streams open", g.Metric("sangate_streams_open"))
	}
}

// startAt starts a gate whose clock is ahead, whose clients are signed by two
// CAs, where agent.example can be another tenant's, and where the key of acme
// has an end.
func startAt(t *testing.T, ahead *atomic.Int64, wait *tool.Tool, globexCA *pkitest.CA, keyEnd string) *servertest.Gate {
	t.Helper()
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{wait},
		Now:    func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		Config: func(yaml string) string { return strings.Replace(yaml, "keys: [{id", "keys: [{"+keyEnd+"id", 1) }})
	g.Write("globex-ca.crt", globexCA.PEM())
	g.Change("certificate", func() { g.Write("ca.crt", slices.Concat(g.CA.PEM(), globexCA.PEM())) })
	return g
}

func mustRead(t *testing.T, g *servertest.Gate, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(g.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
