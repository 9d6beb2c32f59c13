package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// counted offers a tool, a resource and a prompt that count how often they were used,
// whatever their context says.
func counted(t *testing.T) (uses *atomic.Int64, opts servertest.Options) {
	t.Helper()
	uses = new(atomic.Int64)
	plain := &tool.Tool{Name: "count", InputSchema: json.RawMessage(`{"type":"object"}`),
		Handler: func(context.Context, *tool.Call) (*tool.Result, error) { uses.Add(1); return tool.Text("done"), nil }}
	if err := plain.Compile(); err != nil {
		t.Fatal(err)
	}
	opts.Tools = []*tool.Tool{plain}
	opts.Resources = []*tool.Resource{
		{Name: "notes", URI: "test://notes/a", Described: json.RawMessage(`{"name":"notes","uri":"test://notes/a"}`), Read: func(_ context.Context, uri string, _ *tool.Call) (*tool.Result, error) {
			uses.Add(1)
			return &tool.Result{Structured: json.RawMessage(`{"contents":[{"uri":"` + uri + `","text":"note"}]}`)}, nil
		}},
		{Name: "files", URI: "test://files/{name}", Template: true, Described: json.RawMessage(`{"name":"files","uriTemplate":"test://files/{name}"}`), Read: func(_ context.Context, uri string, _ *tool.Call) (*tool.Result, error) {
			uses.Add(1)
			return &tool.Result{Structured: json.RawMessage(`{"contents":[{"uri":"` + uri + `","text":"file"}]}`)}, nil
		}},
	}
	opts.Prompts = []*tool.Prompt{{Name: "draft", Described: json.RawMessage(`{"name":"draft","arguments":[{"name":"tone"}]}`),
		Get: func(context.Context, *tool.Call) (*tool.Result, error) {
			uses.Add(1)
			return &tool.Result{Structured: json.RawMessage(`{"messages":[]}`)}, nil
		},
		Complete: func(context.Context, *tool.Call, string, string) ([]string, error) {
			uses.Add(1)
			return []string{"formal"}, nil
		}}}
	return uses, opts
}

const allowAll = "    tools: {allow: [\"*\"]}\n"

// A lateBody is a request whose head was sent and whose body is still to come.
type lateBody struct {
	name, body string
	send       func() // the body
	answer     func() (*http.Response, error)
}

// lateBodies sends heads only: over HTTP/1.1 with a length and in chunks, and over HTTP/2.
func lateBodies(t *testing.T, g *servertest.Gate, cert *pkitest.Cert, path, body string, headers ...string) []*lateBody {
	t.Helper()
	var out []*lateBody
	for _, framing := range []string{"HTTP/1.1", "HTTP/1.1 chunked"} {
		c := g.TLS(cert)
		c.NextProtos = []string{"http/1.1"}
		conn, err := tls.Dial("tcp", g.Addr, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		length, sent := fmt.Sprintf("Content-Length: %d", len(body)), body
		if framing != "HTTP/1.1" {
			length, sent = "Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		}
		lines := append([]string{"POST " + path + " HTTP/1.1", "Host: localhost", asJSON, length}, headers...)
		if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		out = append(out, &lateBody{framing + " " + path, body, func() { _, _ = io.WriteString(conn, sent) },
			func() (*http.Response, error) {
				_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute)) // a machine without CPU takes long to make a large answer
				return http.ReadResponse(bufio.NewReader(conn), nil)
			}})
	}
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+path, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range append([]string{asJSON}, headers...) {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	end := make(chan outcome, 1)
	client := g.Client(cert)
	client.Timeout = 2 * time.Minute
	go func() {
		res, err := client.Do(req)
		end <- outcome{res, err}
	}()
	return append(out, &lateBody{"HTTP/2 " + path, body,
		func() { _, _ = io.WriteString(w, body); _ = w.Close() },
		func() (*http.Response, error) { o := <-end; return o.res, o.err }})
}

// Whoever is refused between the head and the body of a request has nothing run for it:
// no tool, resource, prompt or completion, and no change through /api.
//
// Holds: client/revoked-before-body
func TestRevokedBeforeBody(t *testing.T) {
	t.Parallel()
	edit := func(old, new string) func(*servertest.Gate, *atomic.Int64) {
		return func(g *servertest.Gate, _ *atomic.Int64) {
			g.Configure(func(yaml string) string { return strings.Replace(yaml, old, new, 1) })
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*servertest.Gate, *atomic.Int64)
		status int
		admin  bool // it goes for admins as well
	}{
		{"key removed", func(g *servertest.Gate, _ *atomic.Int64) {
			g.Configure(func(yaml string) string {
				before, rest, _ := strings.Cut(yaml, "    keys: ")
				_, after, _ := strings.Cut(rest, "\n")
				return before + after
			})
		}, 401, false},
		{"tenant disabled", edit("  - id: acme\n", "  - id: acme\n    enabled: false\n"), 403, false},
		{"tenant lost its rule", edit("tenant/acme/*", "tenant/acme/other"), 403, false},
		{"certificate moved to another tenant", func(g *servertest.Gate, _ *atomic.Int64) {
			g.Configure(func(yaml string) string {
				yaml = strings.ReplaceAll(yaml, "tenant/acme/*", "tenant/old/*")
				return strings.ReplaceAll(yaml, "tenant/globex/*", "tenant/acme/*")
			})
		}, 403, false},
		{"certificate denied", func(g *servertest.Gate, _ *atomic.Int64) {
			g.Write("denied", []byte("san:uri:spiffe://example.org/tenant/acme/agent\n"))
			g.Configure(func(yaml string) string {
				return strings.Replace(yaml, "clientCA:", "revocation: {denylist: denied}, clientCA:", 1)
			})
		}, 401, true},
		{"CA removed", func(g *servertest.Gate, _ *atomic.Int64) {
			g.Change("certificate", func() { g.Write("ca.crt", pkitest.NewCA(t, "New").PEM()) })
		}, 401, true},
		{"certificate expires", func(_ *servertest.Gate, ahead *atomic.Int64) { ahead.Store(int64(31 * time.Minute)) }, 401, true},
		{"policy denies", edit("allow: [\"*\"]", "allow: [nothing]"), 404, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var ahead atomic.Int64
			uses, opts := counted(t)
			opts.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			optional := tc.name == "certificate moved to another tenant"
			opts.Config = func(yaml string) string {
				yaml = strings.ReplaceAll(yaml, "    keys:", allowAll+"    keys:")
				if optional {
					yaml = strings.ReplaceAll(yaml, "    keys:", "    secondFactor: optional\n    keys:")
				}
				return yaml + "admins: {sans: [\"uri:spiffe://example.org/tenant/acme/*\", \"email:ops@example.org\"], secondFactor: none}\n"
			}
			g := servertest.Start(t, opts)
			cert := g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/agent"}, NotAfter: time.Now().Add(30 * time.Minute)})
			token := "Authorization: Bearer " + g.Key("acme")
			if optional {
				token = "X-Nothing: here"
			}
			const revision = "MCP-Protocol-Version: 2026-07-28"
			mcp := func(method, named, params string) []*lateBody {
				return lateBodies(t, g, cert, "/mcp", stateless(method, params), token, accept, revision, "Mcp-Method: "+method, "Mcp-Name: "+named)
			}
			late := lateBodies(t, g, cert, "/tool/count/call", `{"arguments":{}}`, token)
			late = append(late, mcp("tools/call", "count", `"name":"count","arguments":{},`)...)
			late = append(late, lateBodies(t, g, cert, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"count","arguments":{}}}`,
				token, "Accept: text/event-stream, application/json", "MCP-Protocol-Version: 2025-11-25")...) // the SDK's
			late = append(late, mcp("resources/read", "test://notes/a", `"uri":"test://notes/a",`)...)
			late = append(late, mcp("prompts/get", "draft", `"name":"draft",`)...)
			late = append(late, lateBodies(t, g, cert, "/mcp", stateless("completion/complete", `"ref":{"type":"ref/prompt","name":"draft"},"argument":{"name":"tone","value":"f"},`),
				token, accept, revision, "Mcp-Method: completion/complete")...)
			if tc.admin {
				late = append(late, lateBodies(t, g, cert, "/api/keys", `{"tenant":"acme","description":"late","lifetime":"1h"}`)...)
			}
			if !servertest.WaitFor(func() bool { return g.Metric("sangate_streams_open") == float64(len(late)) }, 8*time.Second) {
				t.Fatalf("%v requests in progress, want %d", g.Metric("sangate_streams_open"), len(late))
			}
			tc.change(g, &ahead)
			for _, l := range late {
				l.send()
			}
			for _, l := range late {
				res, err := l.answer()
				if err != nil {
					t.Errorf("%s %s: %v", l.name, l.body, err)
					continue
				}
				data, _ := io.ReadAll(res.Body)
				if tc.status == 404 && strings.HasSuffix(l.name, "/mcp") {
					if !strings.Contains(string(data), `"error"`) {
						t.Errorf("%s %s: %s %s, want an error", l.name, l.body, res.Status, data)
					}
				} else if res.StatusCode != tc.status {
					t.Errorf("%s %s: %s %s, want %d", l.name, l.body, res.Status, data, tc.status)
				}
				if res.StatusCode == 401 && tc.admin && strings.HasPrefix(l.name, "HTTP/1.1") && !res.Close {
					t.Errorf("%s: the connection stays open", l.name)
				}
			}
			if n := uses.Load(); n != 0 {
				t.Errorf("%d uses after the caller was refused, want 0", n)
			}
			if tc.name == "certificate denied" {
				ops := g.CA.Issue(t, pkitest.Leaf{Emails: []string{"ops@example.org"}})
				if list := bodyOf(ask(t, g.Client(ops), http.MethodGet, g.URL+"/api/keys", "")); strings.Contains(list, `"late"`) {
					t.Errorf("a refused admin minted a key: %s", list)
				}
			}
		})
	}
}

// An answer that is being written to a slow reader ends within a second of its caller
// being refused, whole results and event streams alike.
//
// Holds: client/answer-cut
func TestAnswerCutAfterRefusal(t *testing.T) {
	const size = 16 << 20 // more than sockets buffer
	big := &tool.Tool{Name: "big", InputSchema: json.RawMessage(`{"type":"object"}`), Handler: func(context.Context, *tool.Call) (*tool.Result, error) {
		return &tool.Result{Structured: json.RawMessage(`{"text":"` + strings.Repeat("x", size) + `"}`)}, nil
	}}
	if err := big.Compile(); err != nil {
		t.Fatal(err)
	}
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{big}, Config: func(yaml string) string {
		const unbounded = "limits: {unreadBytes: 4000000000, perTenant: {unreadBytes: 4000000000}, perIdentity: {unreadBytes: 4000000000}, " +
			"stallTimeout: 5m}\n" // beginning nine of them takes longer than the default where there is little CPU
		return strings.ReplaceAll(yaml, "    keys:", allowAll+"    keys:") + unbounded
	}})
	cert, token := g.Cert("acme"), "Authorization: Bearer "+g.Key("acme")
	message := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"big","arguments":{}}}`
	answers := make(map[string]*http.Response)
	begin := func(dialect, path, body string, headers ...string) {
		list := lateBodies(t, g, cert, path, body, headers...)
		for _, l := range list {
			l.send() // all of them before the first answer, which takes long to make
		}
		for _, l := range list {
			res, err := l.answer()
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("%s, %s: %v, %v", dialect, l.name, res, err)
			}
			answers[dialect+", "+l.name] = res
		}
	}
	begin("Octopus", "/tool/big/call", "{}", token)
	begin("MCP", "/mcp", message, token, accept, "MCP-Protocol-Version: 2025-11-25")
	begin("events", "/mcp", message, token, "Accept: text/event-stream, application/json", "MCP-Protocol-Version: 2025-11-25")
	if n := g.Metric("sangate_streams_open"); n != float64(len(answers)) {
		t.Fatalf("%v answers under way, want %d", n, len(answers))
	}
	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "  - id: acme\n", "  - id: acme\n    enabled: false\n", 1)
	})
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_streams_open") == 0 }, 5*time.Second) {
		t.Errorf("%v answers still being written", g.Metric("sangate_streams_open"))
	}
	for name, res := range answers {
		n, err := io.Copy(io.Discard, res.Body)
		if err == nil || n >= size {
			t.Errorf("%s: read %d bytes and %v, want the answer to be cut", name, n, err)
		}
	}
}

// A condition on arguments goes for the arguments of prompts, also while they are
// completed, and for the URIs of resources.
//
// Holds: client/conditions-on-prompts-and-resources
func TestConditionsOnPromptsAndResources(t *testing.T) {
	t.Parallel()
	uses, opts := counted(t)
	opts.Config = func(yaml string) string {
		return strings.Replace(yaml, "    keys:", `    tools: {allow: ["*"], condition: '!(has(args.tone) && args.tone == "rude") && !(has(args.uri) && args.uri.contains("secret"))'}`+"\n    keys:", 1)
	}
	g := servertest.Start(t, opts)
	c, token := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
	for _, revision := range []string{"2026-07-28", "2025-11-25"} {
		for _, tc := range []struct {
			method, named, params string
			passes                bool
		}{
			{"prompts/get", "draft", `"name":"draft","arguments":{"tone":"formal"},`, true},
			{"prompts/get", "draft", `"name":"draft","arguments":{"tone":"rude"},`, false},
			{"prompts/get", "draft", `"name":"draft",`, true},
			{"resources/read", "test://notes/a", `"uri":"test://notes/a",`, true},
			{"resources/read", "test://files/plain", `"uri":"test://files/plain",`, true},
			{"resources/read", "test://files/secret", `"uri":"test://files/secret",`, false},
			{"completion/complete", "", `"ref":{"type":"ref/prompt","name":"draft"},"argument":{"name":"tone","value":"f"},`, true},
			{"completion/complete", "", `"ref":{"type":"ref/prompt","name":"draft"},"argument":{"name":"other","value":"f"},"context":{"arguments":{"tone":"rude"}},`, false},
		} {
			before, denied := uses.Load(), g.By(decisions, "reason")["tool_denied"]
			headers := []string{asJSON, token, accept, "MCP-Protocol-Version: " + revision, "Mcp-Method: " + tc.method}
			if tc.named != "" {
				headers = append(headers, "Mcp-Name: "+tc.named)
			}
			body := stateless(tc.method, tc.params)
			if revision != "2026-07-28" {
				body = fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, tc.method, strings.TrimSuffix(tc.params, ","))
			}
			got := bodyOf(ask(t, c, http.MethodPost, g.URL+"/mcp", body, headers...))
			if passed := uses.Load() == before+1; passed != tc.passes || strings.Contains(got, `"error"`) == tc.passes {
				t.Errorf("%s %s by %s: used: %t, want %t; %s", tc.method, tc.params, revision, passed, tc.passes, got)
			}
			if n := g.By(decisions, "reason")["tool_denied"] - denied; (n == 1) == tc.passes {
				t.Errorf("%s %s by %s: denied %v times", tc.method, tc.params, revision, n)
			}
		}
	}
}
