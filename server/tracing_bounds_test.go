package server_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// What a peer makes up is in no span: an id of JSON-RPC only where it is short, a
// revision and the name of a prompt only where there is such a one.
func TestTracedBounds(t *testing.T) {
	t.Parallel()
	sink := newCollector(t)
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {allow: [greet]}\n    keys:", 1) + sink.config("")
	}})
	g.Server.Offer(tool.Offer{Prompts: []*tool.Prompt{{Name: "greet", Described: []byte(`{"name":"greet"}`),
		Get: func(context.Context, *tool.Call) (*tool.Result, error) {
			return &tool.Result{Structured: []byte(`{"messages":[]}`)}, nil
		}}}})
	client := g.Client(g.Cert("acme"))
	for i, tt := range []struct {
		name, body, revision string
		span                 string
		want                 map[string]string
	}{
		{"a long id", `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 200<<10) + `","method":"ping"}`, "2025-11-25", "ping", map[string]string{"jsonrpc.request.id": "", "mcp.protocol.version": "2025-11-25"}},
		{"an id at the bound", `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 126) + `","method":"ping"}`, "2025-11-25", "ping", map[string]string{"jsonrpc.request.id": strings.Repeat("x", 126)}},
		{"no id", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, "2025-11-25", "ping", map[string]string{"jsonrpc.request.id": ""}},
		{"a long revision", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, strings.Repeat("9", 10<<10), "ping", map[string]string{"mcp.protocol.version": ""}},
		{"a prompt that is not there", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"` + strings.Repeat("p", 100<<10) + `"}}`, "2025-11-25", "prompts/get", map[string]string{"gen_ai.prompt.name": ""}},
		{"a prompt that is", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"greet"}}`, "2025-11-25", "prompts/get greet", map[string]string{"gen_ai.prompt.name": "greet"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trace := fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e48%02x", i)
			ask(t, client, http.MethodPost, g.URL+"/mcp", tt.body, asJSON, jwtOf(g.Key("acme")), "Accept: application/json, text/event-stream",
				"MCP-Protocol-Version: "+tt.revision, "traceparent: 00-"+trace+"-00f067aa0ba902b7-01")
			found := sink.of(t, trace, 1)
			span := found[tt.span+serverKind]
			if span == nil {
				t.Fatalf("no span %q in %.500s", tt.span, fmt.Sprint(found))
			}
			have := attributes(span)
			for key, want := range tt.want {
				if have[key] != want {
					t.Errorf("%s is %.200q, of %d bytes, want %q", key, have[key], len(have[key]), want)
				}
			}
			for key, value := range have {
				if len(value) > 256 {
					t.Errorf("%s has %d bytes", key, len(value))
				}
			}
		})
	}
}
