package server_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// The span of a request that failed says so, and of what kind the failure is: the
// reason of a refusal, what came of a tool, else the code that the client was given.
func TestTracedFailures(t *testing.T) {
	t.Parallel()
	sink := newCollector(t)
	var log safeLog
	g := servertest.Start(t, servertest.Options{Log: &log, Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {allow: [echo, moody]}\n    keys:", 1) +
			"admins: {sans: [\"uri:spiffe://example.org/ops\"], secondFactor: none}\n" + sink.config("")
	}, Tools: []*tool.Tool{{Name: "moody", InputSchema: []byte(`{"type":"object"}`), Handler: func(context.Context, *tool.Call) (*tool.Result, error) { return nil, tool.Errorf("Not today.") }}}})
	acme, ops := g.Client(g.Cert("acme")), g.Client(g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/ops"}}))
	rest := func(method, path, body string) func(*testing.T, string) *http.Response {
		return func(t *testing.T, parent string) *http.Response {
			if strings.HasPrefix(path, "/api") {
				return ask(t, ops, method, g.URL+path, body, parent)
			}
			return ask(t, acme, method, g.URL+path, body, asJSON, jwtOf(g.Key("acme")), parent)
		}
	}
	const older, newer = "2025-11-25", "2026-07-28"
	mcp := func(revision, accept, method, params string) func(*testing.T, string) *http.Response {
		if revision == newer {
			params = strings.TrimSuffix(params, "}") + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}}`
			params = strings.Replace(params, "{,", "{", 1)
		}
		return func(t *testing.T, parent string) *http.Response {
			return ask(t, acme, http.MethodPost, g.URL+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`,
				asJSON, jwtOf(g.Key("acme")), "Accept: "+accept, "MCP-Protocol-Version: "+revision, "Mcp-Method: "+method, parent)
		}
	}
	const plain, events = "application/json, text/event-stream", "text/event-stream, application/json"
	tests := []struct {
		name               string
		ask                func(*testing.T, string) *http.Response
		span               string // its name; "": one that TestTraced sees
		kind, code, status string // error.type, rpc.response.status_code, http.response.status_code
	}{
		{"a call", rest("POST", "/tool/echo/call", `{"message":"m"}`), "", "", "", "200"},
		{"a call by MCP", mcp(older, plain, "tools/call", `{"name":"echo","arguments":{"message":"m"}}`), "", "", "", ""},
		{"a list by the SDK", mcp(older, events, "tools/list", `{}`), "", "", "", ""},
		{"no such tool", rest("POST", "/tool/nowhere/call", `{}`), "", "not_found", "", "404"},
		{"a denied tool", rest("POST", "/tool/whoami/call", `{}`), "", "tool_denied", "", "404"},
		{"bad arguments", rest("POST", "/tool/echo/call", `{}`), "", "invalid_arguments", "", "400"},
		{"a tool says no", rest("POST", "/tool/moody/call", `{}`), "", "tool_error", "", "422"},
		{"nothing of the API", rest("GET", "/api/nowhere", ""), "GET /api/", "not_found", "", "404"},
		{"the API", rest("GET", "/api/keys", ""), "GET /api/keys", "", "", "200"},
		{"a method of the API", rest("BREW", "/api/keys", ""), "HTTP /api/keys", "method_not_allowed", "", "405"},
		{"no such tool by MCP", mcp(older, plain, "tools/call", `{"name":"nowhere"}`), "", "-32602", "-32602", ""},
		{"a denied tool by MCP", mcp(older, plain, "tools/call", `{"name":"whoami"}`), "", "tool_denied", "-32602", ""},
		{"a tool says no by MCP", mcp(older, plain, "tools/call", `{"name":"moody","arguments":{}}`), "", "tool_error", "", ""},
		{"no such resource", mcp(older, plain, "resources/read", `{"uri":"file:///nowhere"}`), "", "-32602", "-32602", ""},
		{"no such prompt", mcp(older, plain, "prompts/get", `{"name":"nowhere"}`), "", "-32602", "-32602", ""},
		{"no such prompt, as an event", mcp(older, events, "prompts/get", `{"name":"nowhere"}`), "", "-32602", "-32602", ""},
		{"no such method", mcp(newer, plain, "no/such", `{}`), "", "-32601", "-32601", ""},
		{"no such method of sessions", mcp(older, plain, "no/such", `{}`), "", "bad_request", "", ""},
		{"a method that was removed", mcp(newer, plain, "ping", `{}`), "", "-32601", "-32601", ""},
		{"another that was", mcp(newer, events, "logging/setLevel", `{"level":"debug"}`), "", "-32601", "-32601", ""},
		{"an Accept that is none", mcp(older, "text/html", "ping", `{}`), "", "bad_request", "", ""},
	}
	trace := func(i int) string { return fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e49%02x", i) }
	answers := make([]*http.Response, len(tests))
	for i, tt := range tests { // all before the first is looked for: spans are sent once a second
		answers[i] = tt.ask(t, "traceparent: 00-"+trace(i)+"-00f067aa0ba902b7-01")
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := answers[i]
			for name, span := range sink.of(t, trace(i), 1) {
				have := attributes(span)
				if have["error.type"] != tt.kind || have["rpc.response.status_code"] != tt.code || have["http.response.status_code"] != tt.status {
					t.Errorf("%q: error.type %q, codes %q and %q, want %q, %q and %q; the answer is %s %s", name, have["error.type"],
						have["rpc.response.status_code"], have["http.response.status_code"], tt.kind, tt.code, tt.status, res.Status, bodyOf(res))
				}
				if tt.span != "" && span.Name != tt.span {
					t.Errorf("its name is %q, want %q", span.Name, tt.span)
				}
				if failed := span.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR; failed != (tt.kind != "") {
					t.Errorf("%q: status %v", name, span.Status)
				}
			}
		})
	}
}
