package server_test

import (
	"context"
	"errors"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/docs"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// refusalRow is the row of the console that a request has, as text; "": it has none.
func refusalRow(t *testing.T, g *servertest.Gate, id string) string {
	t.Helper()
	_, page := adminGet(t, g, http.MethodGet, "/refusals", "")
	for _, row := range strings.Split(page, "<tr")[1:] {
		if strings.Contains(row, id) {
			text := html.UnescapeString(regexp.MustCompile(`<[^>]*>|^[^>]*>`).ReplaceAllString(row, " "))
			return strings.Join(strings.Fields(text), " ")
		}
	}
	return ""
}

// Whoever is told no has a row in the console that says why, whatever it is that
// says no; whoever is not has none.
func TestEachRefusalIsShown(t *testing.T) {
	t.Parallel()
	named := func(name string, err error) *tool.Tool {
		out := tool.Tool{Name: name, InputSchema: []byte(`{"type":"object"}`), Handler: func(ctx context.Context, _ *tool.Call) (*tool.Result, error) {
			if err == nil {
				<-ctx.Done()
				err = ctx.Err()
			}
			return nil, err
		}}
		return &out
	}
	g := servertest.Start(t, servertest.Options{
		Tools: []*tool.Tool{named("refuses", tool.Errorf("card 4711 is locked")), named("waits", nil), named("breaks", errors.New("no disk")),
			named("fails", &tool.UpstreamError{Kind: tool.UpstreamFailed, Said: true, Err: errors.New("zendesk says 418")}),
			named("away", &tool.UpstreamError{Kind: tool.UpstreamUnavailable, Err: errors.New("connection refused")})},
		Config: func(yaml string) string {
			return strings.Replace(yaml, "  - id: acme\n", "  - id: acme\n    tools: {allow: ['*'], deny: [whoami]}\n", 1) + "limits: {toolTimeout: 200ms}\n"
		}})
	client := g.Client(g.Cert("acme"))
	rpc := func(method, params string) string {
		return `{"jsonrpc":"2.0","id":"` + strings.Repeat("i", 300) + `","method":"` + method + `","params":` + params + `}`
	}
	const version, types = "MCP-Protocol-Version: 2025-11-25", "Content-Type: application/json"
	for _, tc := range []struct{ method, path, body, header, want string }{
		{"POST", "/tool/echo/call", `{"message":"m"}`, "", ""},
		{"POST", "/mcp", rpc("tools/call", `{"name":"echo","arguments":{"message":"m"}}`), "", ""},
		{"POST", "/mcp", rpc("resources/templates/list", `{}`), "", ""},

		{"POST", "/tool/echo/call", `{"message":`, "", "bad_request (request)"},
		{"POST", "/tool/echo/call", `{"message":7}`, "", `invalid_arguments (request) at "/message": got number, want string`},
		{"POST", "/tool/nope/call", `{}`, "", "not_found (request) POST /tool/nope/call"},
		{"GET", "/nowhere", "", "", "not_found (request) GET /nowhere"},
		{"GET", "/health", "", "Origin: https://evil.example", `forbidden (request) Origin ["https://evil.example"]`},
		{"POST", "/tool/echo/call", `{}`, "Content-Type: text/plain", "unsupported_media_type (request)"},
		{"PUT", "/tools", "", "", "method_not_allowed (request)"},
		{"GET", "/tool/echo/call", "", "", "method_not_allowed (request)"},
		{"POST", "/tool/refuses/call", `{}`, "", "tool_error (request) tool refuses"},
		{"POST", "/tool/breaks/call", `{}`, "", "internal (request) no disk"},
		{"POST", "/tool/fails/call", `{}`, "", "upstream_error (request) zendesk says 418"},
		{"POST", "/tool/away/call", `{}`, "", "unavailable (request) connection refused"},
		{"POST", "/tool/waits/call", `{}`, "", "timeout (request) context deadline exceeded"},
		{"POST", "/tool/whoami/call", `{}`, "", "tool_denied (policy) tool whoami"},

		{"POST", "/mcp", `{"jsonrpc":`, "", "bad_request (request)"},
		{"POST", "/mcp", rpc("tools/call", `{"name":"echo","arguments":{"message":7}}`), "", `invalid_arguments (request) at "/message"`},
		{"POST", "/mcp", rpc("tools/call", `{"name":"nope","arguments":{}}`), "", `not_found (request) "nope"`},
		{"POST", "/mcp", rpc("no/such", `{}`), "", `bad_request (request) JSON RPC not handled: "no/such"`},
		{"POST", "/mcp", rpc("prompts/get", `{"name":"nope"}`), "", `bad_request (request) nope`},
		{"POST", "/mcp", rpc("tools/call", `{"name":"fails","arguments":{}}`), "", "upstream_error (request) zendesk says 418"},
		{"POST", "/mcp", rpc("tools/call", `{"name":"breaks","arguments":{},"_meta":{"progressToken":1}}`), "", "internal (request) no disk"},
		{"POST", "/mcp", rpc("no/such", `{}`), "Accept: text/event-stream, application/json", `bad_request (request) JSON RPC not handled: "no/such"`},
		{"POST", "/mcp", rpc("tools/call", `{"name":"whoami","arguments":{}}`), "", "tool_denied (policy) tool whoami"},
		{"POST", "/mcp", rpc("tools/list", `{}`), "MCP-Protocol-Version: 1999-01-01", "bad_request (request) Unsupported protocol version"},
		{"POST", "/mcp", rpc("tools/list", `{}`), "Accept: text/html", "bad_request (request) Accept must contain"},
		{"PUT", "/mcp", "", "", "method_not_allowed (request)"},
	} {
		headers := []string{"Authorization: Bearer " + g.Key("acme")}
		for _, h := range []string{accept, version, types} {
			if name, _, _ := strings.Cut(h, ":"); !strings.HasPrefix(tc.header, name) {
				headers = append(headers, h)
			}
		}
		if tc.header != "" {
			headers = append(headers, tc.header)
		}
		res := ask(t, client, tc.method, g.URL+tc.path, tc.body, headers...)
		id := res.Header.Get("X-Request-Id")
		row := ""
		servertest.WaitFor(func() bool { row = refusalRow(t, g, id); return row != "" || tc.want == "" }, time.Second)
		code, detail, _ := strings.Cut(tc.want, ") ")
		if (row == "") != (tc.want == "") || !strings.Contains(row, code) || !strings.Contains(row, detail) || strings.Contains(row, "4711") {
			t.Errorf("%s %s %s %s: %d, shown as %q; want %q", tc.method, tc.path, tc.body, tc.header, res.StatusCode, row, tc.want)
		}
		if name, _, ok := strings.Cut(code, " (request"); ok && (docs.Answer(name).Means == "" || !strings.Contains(row, strings.ReplaceAll(docs.Answer(name).Means, "`", ""))) {
			t.Errorf("%s %s: it does not say what %s means: %q", tc.method, tc.path, name, row)
		}
		if tc.want != "" && !strings.Contains(row, "spiffe://example.org/tenant/acme/agent") {
			t.Errorf("%s %s: it does not say whose: %q", tc.method, tc.path, row)
		}
	}
}

// A row says with what, and by whom: of a mismatch both tenants, of a carried
// certificate the proxy.
func TestRefusalsSayWhose(t *testing.T) {
	t.Parallel()
	g := behindProxy(t, servertest.Options{}, "")
	proxy := g.CA.Issue(t, pkitest.Leaf{DNS: []string{"proxy.internal"}})
	keyID := regexp.MustCompile(`globex[\s\S]*?id: ([^,]*),`).FindStringSubmatch(string(mustRead(t, g, "sangate.yaml")))[1]
	for _, tc := range []struct {
		cert    *pkitest.Cert
		headers []string
		want    []string
	}{
		{g.Cert("acme"), []string{"Authorization: Bearer " + g.Key("globex")},
			[]string{"tenant_mismatch", "tenant acme by uri:spiffe://example.org/tenant/acme/*", "key " + keyID + " of tenant globex"}},
		{proxy, []string{"Client-Cert: :AAAA:"}, []string{"bad_certificate", "by proxy proxy.internal"}},
		{proxy, []string{carry(g.Cert("acme")), "Authorization: Bearer x"}, []string{"token_unknown", "spiffe://example.org/tenant/acme/agent tenant acme", "by proxy proxy.internal"}},
	} {
		res := ask(t, g.Client(tc.cert), http.MethodGet, g.URL+"/tools", "", tc.headers...)
		row := refusalRow(t, g, res.Header.Get("X-Request-Id"))
		for _, want := range tc.want {
			if !strings.Contains(row, want) {
				t.Errorf("%q is not in %q", want, row)
			}
		}
	}
}

// Who is connected is told with what they do: the tool of a call, or that it is a
// stream; and how many more there are than are listed.
func TestRequestsInProgressSayWhat(t *testing.T) {
	t.Parallel()
	wait, began, release := waiting(t)
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{wait}})
	client, key := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
	done := start(t, client, g.URL+"/tool/wait/call", "{}", key)
	<-began
	c := g.Client(g.Cert("acme"))
	events, ended := listenTo(t, g, c, g.Key("acme"))
	<-events
	_, page := adminGet(t, g, http.MethodGet, "/connections", "")
	for _, want := range []string{"call of <code>wait</code>", ">stream<", "2 of 2"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
	close(release)
	<-done
	g.Stop()
	<-ended
}
