package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// Without limits of its own a tenant has those of limits.perTenant and
// limits.perIdentity, which are taken while running. Another tenant notices nothing.
//
// Holds: client/requests-in-progress
func TestDefaultConcurrency(t *testing.T) {
	t.Parallel()
	wait, began, release := waiting(t)
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{wait}, Config: func(yaml string) string {
		return yaml + "limits: {perTenant: {concurrent: 3}, perIdentity: {concurrent: 2}}\n"
	}})
	one, token := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
	two := g.Client(g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/other"}}))
	var running []<-chan outcome
	call := func(c *http.Client) {
		running = append(running, start(t, c, g.URL+"/tool/wait/call", "{}", asJSON, token))
		<-began
	}
	call(one)
	call(one)
	before := g.By(decisions, "reason")
	tooMany(t, ask(t, one, http.MethodGet, g.URL+"/tools", "", token)) // the identity's two
	call(two)
	tooMany(t, ask(t, two, http.MethodGet, g.URL+"/tools", "", token)) // the tenant's three
	wantChange(t, g, decisions, "reason", before, map[string]float64{"ok": 1, "rate_limited": 2})
	if res := ask(t, g.Client(g.Cert("globex")), http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("globex")); res.StatusCode != 200 {
		t.Errorf("another tenant: %s", res.Status)
	}
	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "perTenant: {concurrent: 3}", "perTenant: {concurrent: 4}", 1)
	})
	if res := ask(t, two, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
		t.Errorf("with a larger limit: %s", res.Status)
	}
	close(release)
	for _, call := range running {
		if got := <-call; got.err != nil || got.res.StatusCode != 200 {
			t.Errorf("%v, %v", got.res, got.err)
		}
	}
}

// Event streams have a limit of their own, and leave the requests theirs. One too many
// is refused before its answer begins: GET and subscriptions/listen, HTTP/1.1 and 2.
//
// Holds: client/requests-in-progress
func TestStreamLimit(t *testing.T) {
	t.Parallel()
	for protocol, opts := range map[string][]servertest.ClientOption{"HTTP/1.1": {servertest.HTTP1}, "HTTP/2": nil} {
		t.Run(protocol, func(t *testing.T) {
			g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
				return yaml + "limits: {perTenant: {concurrent: 1}, perIdentity: {streams: 3}}\n"
			}})
			c, token := g.Client(g.Cert("acme"), opts...), "Authorization: Bearer "+g.Key("acme")
			events, _ := listenTo(t, g, c, g.Key("acme"))
			wantTold(t, events, acknowledged)
			id := begin(t, c, g.URL+"/mcp", "2025-11-25", token)
			get := func() *http.Response {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+"/mcp", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header = http.Header{"Authorization": {"Bearer " + g.Key("acme")}, "Accept": {"text/event-stream"}, "Mcp-Session-Id": {id}}
				res, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = res.Body.Close() })
				return res
			}
			var last *http.Response
			for n := range 2 {
				if last = get(); last.StatusCode != 200 {
					t.Fatalf("stream %d: %s", n+2, last.Status)
				}
			}
			before := g.By(decisions, "reason")
			tooMany(t, get())
			tooMany(t, ask(t, c, http.MethodPost, g.URL+"/mcp", listenBody, asJSON, accept, token,
				"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen"))
			wantChange(t, g, decisions, "reason", before, map[string]float64{"rate_limited": 2})
			if res := ask(t, c, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
				t.Errorf("a request beside the streams: %s", res.Status)
			}
			_ = last.Body.Close()
			if !servertest.WaitFor(func() bool {
				res := get()
				defer res.Body.Close()
				return res.StatusCode == 200
			}, 10*time.Second) {
				t.Error("refused after a stream has ended")
			}
		})
	}
}

// A tenant's own number of connections stands in the place of its share, above it and
// below it.
//
// Holds: tenant/connection-share
func TestTenantConnections(t *testing.T) {
	t.Parallel()
	for _, most := range []int{3, 15} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
				return strings.Replace(yaml, "  - id: acme\n", fmt.Sprintf("  - id: acme\n    limits: {connections: %d}\n", most), 1) +
					"limits: {maxConnections: 20, tenantShare: 0.5, identityShare: 1, handshakeTimeout: 2m}\n"
			}})
			for range 20 {
				dialWire(t, g, g.Cert("acme"))
			}
			dropped := func() float64 { return g.Metric("sangate_connections_dropped_total", "reason", "identity_share") }
			if !servertest.WaitFor(func() bool {
				return g.Metric("sangate_connections_open") == float64(most) && dropped() == float64(20-most)
			}, 10*time.Second) {
				t.Errorf("%v connections open and %v dropped, want %d and %d", g.Metric("sangate_connections_open"), dropped(), most, 20-most)
			}
		})
	}
}

// Requests over a limit do not write a line of log each.
//
// Holds: client/limited-log
func TestLimitedRequestsWriteFewLines(t *testing.T) {
	t.Parallel()
	const n = 300
	var log safeLog
	g := limited(t, "{requestsPerSecond: 0.001, burst: 1}", servertest.Options{Log: &log})
	c, token := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
	ask(t, c, http.MethodGet, g.URL+"/tools", "", token)
	before := g.By(decisions, "reason")
	for range n {
		tooMany(t, ask(t, c, http.MethodGet, g.URL+"/tools", "", token))
	}
	wantChange(t, g, decisions, "reason", before, map[string]float64{"rate_limited": n})
	if lines := strings.Count(log.String(), `"reason":"rate_limited"`); lines == 0 || lines >= n {
		t.Errorf("%d lines for %d requests, want a few", lines, n)
	}
}

// Calls and messages that fail each time write few lines of log, and are all counted.
//
// Holds: tenant/failures-log
func TestFailuresWriteFewLines(t *testing.T) {
	const n = 200
	broken := &tool.Tool{Name: "broken", InputSchema: json.RawMessage(`{"type":"object"}`),
		Handler: func(_ context.Context, call *tool.Call) (*tool.Result, error) {
			if string(call.Arguments) == "{}" {
				return nil, errors.New("broken")
			}
			return nil, &tool.UpstreamError{Kind: tool.UpstreamFailed, Err: errors.New("away")}
		}}
	if err := broken.Compile(); err != nil {
		t.Fatal(err)
	}
	prompt := &tool.Prompt{Name: "draft", Described: json.RawMessage(`{"name":"draft"}`),
		Get: func(context.Context, *tool.Call) (*tool.Result, error) { return nil, errors.New("broken") }}
	var log safeLog
	g := servertest.Start(t, servertest.Options{Log: &log, Tools: []*tool.Tool{broken}, Prompts: []*tool.Prompt{prompt},
		Config: func(yaml string) string { return strings.ReplaceAll(yaml, "    keys:", allowAll+"    keys:") }})
	c, header := g.Client(g.Cert("acme")), []string{"Authorization: Bearer " + g.Key("acme"), "Accept: application/json, text/event-stream", "Content-Type: application/json"}
	for _, flood := range []struct{ path, body, line string }{
		{"/tool/broken/call", `{}`, "tool failed"},
		{"/tool/broken/call", `{"a":1}`, "what stands behind a tool failed"},
		{"/mcp", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"draft"}}`, "what stands behind a resource or prompt failed"},
		{"/mcp", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"a:b"}}`, "request failed"},
	} {
		before := g.By(decisions, "reason")
		for range n {
			ask(t, c, http.MethodPost, g.URL+flood.path, flood.body, header...)
		}
		wantChange(t, g, decisions, "reason", before, map[string]float64{"ok": n})
		if lines := strings.Count(log.String(), `"msg":"`+flood.line+`"`); lines == 0 || lines >= n/2 {
			t.Errorf("%d lines of %q for %d requests, want a few", lines, flood.line, n)
		}
	}
}

// Refused and broken requests that lead to no lockout write few lines of log and of the
// audit log, and are all counted.
//
// Holds: client/audit-flood
// Holds: client/refusals-log
func TestFloodWritesFewRecords(t *testing.T) {
	t.Parallel()
	const n = 400
	for name, flood := range map[string]struct{ path, reason, field, token string }{
		"no token":  {"/tools", "token_missing", `"reason":"token_missing"`, ""},
		"bad paths": {"/nowhere", "ok", `"outcome":"not_found"`, "acme"},
	} {
		t.Run(name, func(t *testing.T) {
			var log safeLog
			g := servertest.Start(t, servertest.Options{Log: &log, Config: func(yaml string) string { return yaml + "audit: {file: audit.jsonl}\n" }})
			c, before := g.Client(g.Cert("acme")), g.By(decisions, "reason")
			var token []string
			if flood.token != "" {
				token = append(token, "Authorization: Bearer "+g.Key(flood.token))
			}
			for range n {
				ask(t, c, http.MethodGet, g.URL+flood.path, "", token...)
			}
			wantChange(t, g, decisions, "reason", before, map[string]float64{flood.reason: n})
			if lines := strings.Count(log.String(), `"msg":"request refused"`); lines >= n/2 {
				t.Errorf("%d lines of log for %d requests, want a few", lines, n)
			}
			g.Stop()
			text, err := os.ReadFile(filepath.Join(g.Dir, "audit.jsonl"))
			if lines := strings.Count(string(text), flood.field); err != nil || lines == 0 || lines >= n/2 {
				t.Errorf("%d records for %d requests, want few: %v", lines, n, err)
			}
		})
	}
}
