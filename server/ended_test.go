package server_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// decisionsOf returns what a scrape has counted of decisions, by stage and reason.
func decisionsOf(g *servertest.Gate) map[string]float64 {
	out := make(map[string]float64)
	for reason, n := range g.By(decisions, "reason") {
		if n > 0 {
			out[reason] = n
		}
	}
	return out
}

// grown waits until the decisions have grown, and returns by how much, by reason.
func grown(g *servertest.Gate, before map[string]float64) map[string]float64 {
	var out map[string]float64
	servertest.WaitFor(func() bool {
		out = decisionsOf(g)
		for reason, n := range before {
			if out[reason] -= n; out[reason] == 0 {
				delete(out, reason)
			}
		}
		return len(out) > 0
	}, 2*time.Second)
	return out
}

// A request that carries a token leaves exactly one decision in the metric, and one line
// in the audit log, whatever is wrong with its message: a good token one that says so, a
// wrong one its reason. So a stolen key cannot be tested unseen.
//
// Holds: client/token-test-seen
func TestTokenTestsLeaveTraces(t *testing.T) {
	t.Parallel()
	_, opts := counted(t)
	opts.Config = func(yaml string) string {
		return strings.ReplaceAll(yaml, "    keys:", allowAll+"    keys:") + "audit: {file: audit.jsonl}\n" +
			"limits: {failureBurst: 1000, maxBodyBytes: 4096}\n" +
			"admins: {sans: [\"uri:spiffe://example.org/tenant/acme/*\"], secondFactor: optional}\n"
	}
	g := servertest.Start(t, opts)
	file := filepath.Join(g.Dir, "audit.jsonl")
	const post, asMCP, older = http.MethodPost, "/mcp", "MCP-Protocol-Version: 2025-11-25"
	headersOfMCP := []string{accept, older, asJSON}
	call := func(name string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + name + `","arguments":{}}}`
	}
	message := func(method, params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + `}}`
	}
	for _, tc := range []struct {
		name, method, path, body string
		headers                  []string
		outcome                  string // of a good token
	}{
		{"MCP: no JSON", post, asMCP, "{", headersOfMCP, "bad_request"},
		{"MCP: a batch", post, asMCP, "[" + call("count") + "," + call("count") + "]", headersOfMCP, "bad_request"},
		{"MCP: an empty body", post, asMCP, "", headersOfMCP, "bad_request"},
		{"MCP: a name twice", post, asMCP, `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, headersOfMCP, "bad_request"},
		{"MCP: another JSON-RPC", post, asMCP, `{"jsonrpc":"1.0","id":1,"method":"ping"}`, headersOfMCP, "bad_request"},
		{"MCP: an unknown method", post, asMCP, message("nothing/such", ""), headersOfMCP, "bad_request"},
		{"MCP: bad parameters", post, asMCP, message("tools/call", `"name":5`), headersOfMCP, "not_found"},
		{"MCP: an unknown tool", post, asMCP, call("nowhere"), headersOfMCP, "not_found"},
		{"MCP: an unknown resource", post, asMCP, message("resources/read", `"uri":"test://nowhere"`), headersOfMCP, "bad_request"},
		{"MCP: an unknown prompt", post, asMCP, message("prompts/get", `"name":"nowhere"`), headersOfMCP, "bad_request"},
		{"MCP: an unknown reference", post, asMCP, message("completion/complete", `"ref":{"type":"ref/prompt","name":"nowhere"},"argument":{"name":"a","value":"b"}`), headersOfMCP, "bad_request"},
		{"MCP: another type", post, asMCP, call("count"), []string{accept, older, "Content-Type: text/plain"}, "unsupported_media_type"},
		{"MCP: encoded", post, asMCP, call("count"), append([]string{"Content-Encoding: gzip"}, headersOfMCP...), "unsupported_media_type"},
		{"MCP: too large", post, asMCP, strings.Repeat(" ", 5000), headersOfMCP, "too_large"},
		{"MCP: no Accept", post, asMCP, call("count"), []string{asJSON, older, "Accept: text/html"}, "bad_request"},
		{"MCP: an unknown revision", post, asMCP, call("count"), []string{accept, asJSON, "MCP-Protocol-Version: 1999-01-01"}, "bad_request"},
		{"MCP: an unknown session", post, asMCP, call("count"), append([]string{"Mcp-Session-Id: none"}, headersOfMCP...), "not_found"},
		{"MCP: two sessions", post, asMCP, call("count"), append([]string{"Mcp-Session-Id: a", "Mcp-Session-Id: b"}, headersOfMCP...), "bad_request"},
		{"MCP: no session to end", http.MethodDelete, asMCP, "", nil, "bad_request"},
		{"MCP: no stream", http.MethodGet, asMCP, "", nil, "method_not_allowed"},
		{"MCP: a method", http.MethodPut, asMCP, "{}", nil, "method_not_allowed"},
		{"REST: a method on the list", post, "/tools", "{}", nil, "method_not_allowed"},
		{"REST: a method on a call", http.MethodGet, "/tool/count/call", "", nil, "method_not_allowed"},
		{"REST: no JSON", post, "/tool/count/call", "{", []string{asJSON}, "bad_request"},
		{"REST: another type", post, "/tool/count/call", "{}", []string{"Content-Type: text/plain"}, "unsupported_media_type"},
		{"REST: too large", post, "/tool/count/call", strings.Repeat(" ", 5000), []string{asJSON}, "too_large"},
		{"REST: an unknown tool", post, "/tool/nowhere/call", "{}", []string{asJSON}, "not_found"},
		{"REST: arguments that do not fit", post, "/tool/echo/call", "{}", []string{asJSON}, "invalid_arguments"},
		{"no such path", http.MethodGet, "/nowhere", "", nil, "not_found"},
		{"no plain path", http.MethodGet, "/tool//call", "", nil, "not_found"},
		{"a slash within a segment", post, "/tool/a%2Fb/call", "{}", nil, "not_found"},
		{"a method on health", post, "/health", "{}", nil, "method_not_allowed"},
		{"a method on metadata", post, "/.well-known/oauth-protected-resource", "{}", nil, "method_not_allowed"},
		{"a foreign origin", http.MethodGet, "/tools", "", []string{"Origin: https://evil.example"}, "forbidden"},
		{"API: no such path", http.MethodGet, "/api/nowhere", "", nil, "not_found"},
		{"API: a method", http.MethodPut, "/api/keys", "{}", nil, "method_not_allowed"},
		{"API: no JSON", post, "/api/keys", "{", []string{asJSON}, "bad_request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := g.Client(g.Cert("acme"))
			before, lines := decisionsOf(g), len(audited(t, file))
			isAdmin := strings.HasPrefix(tc.path, "/api/")
			if isAdmin { // its tokens are others: without one, the certificate is what is tested
				res := ask(t, c, tc.method, g.URL+tc.path, tc.body, tc.headers...)
				wantTrace(t, g, file, res, before, lines, "ok", "bad_request", tc.outcome)
			} else {
				res := ask(t, c, tc.method, g.URL+tc.path, tc.body, append([]string{jwtOf(g.Key("acme"))}, tc.headers...)...)
				if res.StatusCode == http.StatusUnauthorized {
					t.Fatalf("a good token: %s", res.Status)
				}
				wantTrace(t, g, file, res, before, lines, "ok", "bad_request", tc.outcome)
			}
			for token, reason := range map[string]string{g.Key("globex"): "tenant_mismatch", "sgk_wrong": "token_unknown"} {
				before, lines := decisionsOf(g), len(audited(t, file))
				res := ask(t, c, tc.method, g.URL+tc.path, tc.body, append([]string{jwtOf(token)}, tc.headers...)...)
				wantTrace(t, g, file, res, before, lines, reason, "refused", "")
			}
		})
	}

	t.Run("a body that does not come", func(t *testing.T) {
		before, lines := decisionsOf(g), len(audited(t, file))
		config := g.TLS(g.Cert("acme"))
		config.NextProtos = []string{"http/1.1"}
		conn, err := tls.Dial("tcp", g.Addr, config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"+jwtOf(g.Key("acme"))+"\r\nContent-Length: 100\r\n\r\n")
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatalf("%q, %v, want to be asked for the body", line, err)
		}
		_ = conn.Close()
		wantTrace(t, g, file, nil, before, lines, "ok", "bad_request", "bad_request")
	})
}

// wantTrace checks that a request left one decision and one line.
func wantTrace(t *testing.T, g *servertest.Gate, file string, res *http.Response, before map[string]float64, lines int, reason, kind, outcome string) {
	t.Helper()
	if got := grown(g, before); !maps.Equal(got, map[string]float64{reason: 1}) {
		t.Errorf("%s: %v decisions, want one", reason, got)
	}
	want := map[string]any{"kind": kind, "reason": reason, "tenant": "acme"}
	if strings.HasPrefix(path(res), "/api/") {
		want["tenant"] = "@admins"
	}
	if outcome != "" {
		want["outcome"], want["stage"] = outcome, "ok"
	}
	var added []map[string]any
	servertest.WaitFor(func() bool { added = audited(t, file)[lines:]; return len(added) > 0 }, 2*time.Second)
	if len(added) != 1 || !fits(added[0], want) {
		t.Errorf("%s: written down as %v, want one with %v", reason, added, want)
		return
	}
	if res != nil && added[0]["requestId"] != res.Header.Get("X-Request-Id") {
		t.Errorf("%s: of request %v, want %s", reason, added[0]["requestId"], res.Header.Get("X-Request-Id"))
	}
}

func path(res *http.Response) string {
	if res == nil {
		return ""
	}
	return res.Request.URL.Path
}

// What needs no token and what is answered as asked leave no second decision.
func TestOneDecisionPerRequest(t *testing.T) {
	t.Parallel()
	_, opts := counted(t)
	opts.Config = func(yaml string) string {
		return strings.ReplaceAll(yaml, "    keys:", allowAll+"    keys:") + "limits: {perIdentity: {streams: 1}}\n"
	}
	g := servertest.Start(t, opts)
	c, token := g.Client(g.Cert("acme")), jwtOf(g.Key("acme"))
	for i, r := range []struct {
		method, path, body string
		headers            []string
		decided            float64
	}{
		{http.MethodGet, "/health", "", []string{token}, 0},
		{http.MethodGet, "/.well-known/oauth-protected-resource", "", []string{token}, 0},
		{http.MethodGet, "/nowhere", "", nil, 0},
		{http.MethodGet, "/tools", "", []string{token}, 1},
		{http.MethodPost, "/tool/count/call", "{}", []string{token, asJSON}, 1},
		{http.MethodPost, "/mcp", stateless("tools/call", `"name":"count","arguments":{},`), []string{token, asJSON, accept, "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: count"}, 1},
		{http.MethodPost, "/mcp", stateless("resources/read", `"uri":"test://notes/a",`), []string{token, asJSON, accept, "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: resources/read", "Mcp-Name: test://notes/a"}, 1},
		{http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"draft"}}`, []string{token, asJSON, accept, "MCP-Protocol-Version: 2025-11-25"}, 1},
		{http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"prompts/list"}`, []string{token, asJSON, accept, "MCP-Protocol-Version: 2025-11-25"}, 1},
		{http.MethodPost, "/mcp", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, []string{token, asJSON, accept, "MCP-Protocol-Version: 2025-11-25"}, 1},
	} {
		before := g.Metric(decisions)
		if res := ask(t, c, r.method, g.URL+r.path, r.body, r.headers...); res.StatusCode >= 300 && r.path != "/nowhere" {
			t.Errorf("%s %s: %s", r.method, r.path, res.Status)
		}
		servertest.WaitFor(func() bool { return g.Metric(decisions) > before || r.decided == 0 }, 2*time.Second)
		if n := g.Metric(decisions) - before; n != r.decided {
			t.Errorf("%d: %s %s: %v decisions, want %v", i, r.method, r.path, n, r.decided)
		}
	}
	listen := func() *http.Response {
		body := stateless("subscriptions/listen", `"notifications":{"toolsListChanged":true},`)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/mcp", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{token, asJSON, accept, "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen"} {
			name, value, _ := strings.Cut(line, ": ")
			req.Header.Set(name, value)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	for _, want := range []string{"ok", "rate_limited"} { // a stream that is open, and one too many
		before := decisionsOf(g)
		res := listen()
		if got := grown(g, before); !maps.Equal(got, map[string]float64{want: 1}) {
			t.Errorf("a stream, %s: %v decisions, want one %s", res.Status, got, want)
		}
	}
}

// Resource reads, prompt gets and completions are counted and written down as tool calls
// are: who, what by its name, how it ended; nothing of what was asked for.
//
// Holds: client/uses-recorded
func TestUsesAreRecorded(t *testing.T) {
	t.Parallel()
	_, opts := counted(t)
	opts.Config = func(yaml string) string {
		return strings.Replace(yaml, "    keys:", `    tools: {allow: ["*"], condition: '!(has(args.tone) && args.tone == "rude")'}`+"\n    keys:", 1) +
			"audit: {file: audit.jsonl, toolCalls: true}\n"
	}
	g := servertest.Start(t, opts)
	file, c, token := filepath.Join(g.Dir, "audit.jsonl"), g.Client(g.Cert("acme")), jwtOf(g.Key("acme"))
	const uses = "sangate_mcp_uses_total"
	for _, kind := range []string{"resource_read", "prompt_get", "completion"} {
		if n := g.By(uses, "kind")[kind]; n != 0 {
			t.Errorf("%v of %s at the start", n, kind)
		}
	}
	for i, u := range []struct{ method, params, kind, name, result string }{
		{"resources/read", `"uri":"test://notes/a"`, "resource_read", "notes", "ok"},
		{"resources/read", `"uri":"test://files/nobodys-business"`, "resource_read", "files", "ok"},
		{"resources/read", `"uri":"test://nobodys-business"`, "resource_read", "_unknown", "not_found"},
		{"prompts/get", `"name":"draft","arguments":{"tone":"nobodys-business"}`, "prompt_get", "draft", "ok"},
		{"prompts/get", `"name":"nobodys-business"`, "prompt_get", "_unknown", "not_found"},
		{"prompts/get", `"name":"draft","arguments":{"tone":"rude"}`, "prompt_get", "draft", "tool_denied"},
		{"completion/complete", `"ref":{"type":"ref/prompt","name":"draft"},"argument":{"name":"tone","value":"f"}`, "completion", "draft", "ok"},
		{"completion/complete", `"ref":{"type":"ref/prompt","name":"nobodys-business"},"argument":{"name":"tone","value":"f"}`, "completion", "_unknown", "not_found"},
	} {
		before := decisionsOf(g)
		labels := []string{"kind", u.kind, "name", u.name, "tenant", "acme", "result", u.result}
		res := ask(t, c, http.MethodPost, g.URL+"/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":{%s}}`, i, u.method, u.params), token, asJSON, accept, "MCP-Protocol-Version: 2025-11-25")
		want := map[string]any{"kind": u.kind, "name": u.name, "tenant": "acme", "identity": acmeURI, "outcome": u.result, "requestId": res.Header.Get("X-Request-Id")}
		switch u.result {
		case "tool_denied":
			want = map[string]any{"kind": "refused", "reason": u.result, "name": u.name, "requestId": want["requestId"]}
		case "not_found":
			want = map[string]any{"kind": "bad_request", "reason": "ok", "requestId": want["requestId"]}
		}
		r := wantRecord(t, file, want)
		if u.result == "ok" && r["durationMs"] == nil {
			t.Errorf("%s %s: no duration in %v", u.method, u.params, r)
		}
		if u.result == "tool_denied" { // one decision, and no use
			if got := grown(g, before); !maps.Equal(got, map[string]float64{"tool_denied": 1}) {
				t.Errorf("a denied prompt: %v decisions, want one", got)
			}
			if n := g.By(uses, "result")[u.result]; n != 0 {
				t.Errorf("%v uses that were denied are counted as uses", n)
			}
			continue
		}
		if n := g.Metric(uses, labels...); n != 1 {
			t.Errorf("%s %s: %v in %s%v, want 1", u.method, u.params, n, uses, labels)
		}
	}
	if n := g.Metric("sangate_mcp_use_duration_seconds_count", "kind", "resource_read", "name", "files"); n != 1 {
		t.Errorf("%v durations of files, want 1", n)
	}
	audited(t, file, "nobodys-business", "test://", "rude")
	names := slices.Sorted(maps.Keys(g.By(uses, "name")))
	if want := []string{"_unknown", "draft", "files", "notes"}; !slices.Equal(names, want) {
		t.Errorf("names %v in the metric, want %v", names, want)
	}

	g.Configure(func(yaml string) string { return strings.Replace(yaml, ", toolCalls: true", "", 1) })
	lines := len(audited(t, file))
	ask(t, c, http.MethodPost, g.URL+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"test://notes/a"}}`, token, asJSON, accept, "MCP-Protocol-Version: 2025-11-25")
	ask(t, g.Client(g.CA.Issue(t, pkitest.Leaf{URIs: []string{acmeURI}})), http.MethodGet, g.URL+"/tools", "")
	wantRecord(t, file, map[string]any{"kind": "refused", "reason": "token_missing"})
	if n := len(audited(t, file)) - lines; n != 1 {
		t.Errorf("%d lines without toolCalls, want that of the refusal", n)
	}
}
