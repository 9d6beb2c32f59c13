package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// revisions of the Model Context Protocol that the gate serves.
var revisions = []string{"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"}

// bearer puts a key on every request.
type bearer struct {
	http.RoundTripper
	key string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.key)
	return b.RoundTripper.RoundTrip(r)
}

// mcpClient connects the official SDK's client as a tenant.
func mcpClient(t *testing.T, g *servertest.Gate, tenant, revision string) *sdk.ClientSession {
	t.Helper()
	hc := g.Client(g.Cert(tenant))
	hc.Transport = bearer{hc.Transport, g.Key(tenant)}
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: g.URL + "/mcp", HTTPClient: hc, DisableStandaloneSSE: true, MaxRetries: -1},
		&sdk.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func mcpTools(t *testing.T) []*tool.Tool {
	t.Helper()
	make := func(name string, h tool.Handler) *tool.Tool {
		tl := &tool.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`), Handler: h}
		if err := tl.Compile(); err != nil {
			t.Fatal(err)
		}
		return tl
	}
	return []*tool.Tool{
		make("globex_only", func(context.Context, *tool.Call) (*tool.Result, error) { return tool.Text("for globex"), nil }),
		make("refuses", func(context.Context, *tool.Call) (*tool.Result, error) {
			return nil, tool.Errorf("not on %s", "Mondays")
		}),
		make("panics", func(context.Context, *tool.Call) (*tool.Result, error) { panic("hush: s3cret") }),
	}
}

// allowTools gives globex every tool and acme all but globex's own.
func allowTools(yaml string) string {
	yaml = strings.Replace(yaml, "  - id: acme\n", "  - id: acme\n    tools: {allow: ['*'], deny: ['globex_*']}\n", 1)
	return strings.Replace(yaml, "  - id: globex\n", "  - id: globex\n    tools: {allow: ['*']}\n", 1)
}

func TestMCPClient(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Tools: mcpTools(t), Config: allowTools})
	for _, revision := range revisions {
		for _, tenant := range []string{"acme", "globex"} {
			t.Run(revision+"/"+tenant, func(t *testing.T) {
				s := mcpClient(t, g, tenant, revision)
				if got := s.InitializeResult().ProtocolVersion; got != revision {
					t.Fatalf("speaks %s", got)
				}
				list, err := s.ListTools(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				names := make([]string, len(list.Tools))
				for i, tl := range list.Tools {
					names[i] = tl.Name
				}
				want := []string{"certificate_inspect", "echo", "gate_certificates", "globex_only", "panics", "refuses", "whoami"}
				if tenant == "acme" {
					want = slices.Delete(want, 3, 4)
				}
				if !slices.Equal(names, want) {
					t.Errorf("lists %q, want %q", names, want)
				}
				if revision == "2026-07-28" && list.CacheScope != "private" {
					t.Errorf("cacheScope %q: another tenant could be given this list", list.CacheScope)
				}
				callTools(t, s, tenant)
			})
		}
	}
}

func callTools(t *testing.T, s *sdk.ClientSession, tenant string) {
	call := func(name string, args any) (*sdk.CallToolResult, error) {
		return s.CallTool(t.Context(), &sdk.CallToolParams{Name: name, Arguments: args})
	}
	res, err := call("whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	var who struct{ Tenant, Identity string }
	if raw, _ := json.Marshal(res.StructuredContent); json.Unmarshal(raw, &who) != nil || who.Tenant != tenant || who.Identity != "spiffe://example.org/tenant/"+tenant+"/agent" {
		t.Errorf("whoami = %s, want tenant %s", raw, tenant)
	}
	for name, want := range map[string]string{"echo": "/message: ", "refuses": "not on Mondays"} {
		res, err := call(name, map[string]any{"message": 7})
		if err != nil || !res.IsError || !strings.Contains(res.Content[0].(*sdk.TextContent).Text, want) {
			t.Errorf("%s = %+v, %v; want a result that is an error with %q", name, res, err, want)
		}
	}
	if res, err := call("panics", nil); err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), ".go:") {
		t.Errorf("panics = %+v, %v; want an error that says nothing of the panic", res, err)
	}
	_, unknown := call("never_was", nil)
	if unknown == nil {
		t.Fatal("an unknown tool was called")
	}
	if _, err := call("globex_only", nil); tenant == "globex" && err != nil {
		t.Errorf("globex_only = %v", err)
	} else if want := strings.ReplaceAll(unknown.Error(), "never_was", "globex_only"); tenant == "acme" && (err == nil || err.Error() != want) {
		t.Errorf("a denied tool: %v; want the same as an unknown one: %s", err, want)
	}
}

const accept = "Accept: application/json, text/event-stream"

// stateless is a request of 2026-07-28 with what its body must carry.
func stateless(method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`, method, params)
}

func TestMCPHeaders(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	cert := g.Cert("acme")
	const version = "MCP-Protocol-Version: 2026-07-28"
	call, list := stateless("tools/call", `"name":"whoami","arguments":{},`), stateless("tools/list", "")
	for _, tc := range []struct {
		name    string
		body    string
		headers []string
		status  int
		code    int // of the JSON-RPC error; 0: none
	}{
		{"call", call, []string{accept, version, "Mcp-Method: tools/call", "Mcp-Name: whoami"}, 200, 0},
		{"call, other method", call, []string{accept, version, "Mcp-Method: tools/list", "Mcp-Name: whoami"}, 400, -32020},
		{"call, other name", call, []string{accept, version, "Mcp-Method: tools/call", "Mcp-Name: echo"}, 400, -32020},
		{"call, other name encoded", call, []string{accept, version, "Mcp-Method: tools/call", "Mcp-Name: =?base64?ZWNobw==?="}, 400, -32020},
		{"call, no method", call, []string{accept, version, "Mcp-Name: whoami"}, 400, -32020},
		{"call, no name", call, []string{accept, version, "Mcp-Method: tools/call"}, 400, -32020},
		{"list", list, []string{accept, version, "Mcp-Method: tools/list"}, 200, 0},
		{"list, no method", list, []string{accept, version}, 400, -32020},
		{"list, other version", list, []string{accept, "MCP-Protocol-Version: 2025-11-25", "Mcp-Method: tools/list"}, 400, -32020},
		{"list, version of the future", strings.ReplaceAll(list, "2026-07-28", "2099-01-01"), []string{accept, "MCP-Protocol-Version: 2099-01-01", "Mcp-Method: tools/list"}, 400, -32022},
		{"unknown method", stateless("tools/burn", ""), []string{accept, version, "Mcp-Method: tools/burn"}, 404, -32601},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := dialWire(t, g, cert)
			w.send(post(g, "/mcp", tc.body, append(tc.headers, asJSON)...))
			res := w.answer(t)
			if res == nil || res.StatusCode != tc.status || res.Header.Get("Content-Type") != "application/json" || res.Header.Get("X-Request-Id") == "" {
				t.Fatalf("answer %+v, want %d", res, tc.status)
			}
			raw, _ := io.ReadAll(res.Body)
			var body struct{ Error struct{ Code int } }
			if err := json.Unmarshal(raw, &body); err != nil || body.Error.Code != tc.code {
				t.Errorf("body %s, want code %d", raw, tc.code)
			}
		})
	}
}

// What the SDK says in plain text comes out as the gate's one error body.
func TestMCPPlainErrors(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	cert := g.Cert("acme")
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	for name, tc := range map[string]struct{ body, header string }{
		"no Accept":          {list, "X-A: b"},
		"Accept of one":      {list, "Accept: application/json"},
		"unknown version":    {list, "MCP-Protocol-Version: 1999-01-01\r\n" + accept},
		"no JSON-RPC":        {`{"id":1,"method":"tools/list"}`, accept},
		"neither way":        {`{"jsonrpc":"2.0","id":1}`, accept},
		"id of another kind": {`{"jsonrpc":"2.0","id":{},"method":"tools/list"}`, accept},
	} {
		t.Run(name, func(t *testing.T) {
			w := dialWire(t, g, cert)
			w.send(post(g, "/mcp", tc.body, tc.header, asJSON))
			wantError(t, w.answer(t), 400, "bad_request")
		})
	}
}
