package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// spans is a collector: it takes OTLP over HTTP.
type spans struct {
	*httptest.Server
	mu    sync.Mutex
	list  []*otlp.Span
	token string
}

func newCollector(t *testing.T) *spans {
	t.Helper()
	s := &spans{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var got collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &got)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.token = r.Header.Get("Authorization")
		for _, resource := range got.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				s.list = append(s.list, scope.Spans...)
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// config is what has a gate send it all that is asked, with more keys of tracing.
func (s *spans) config(more string) string {
	return fmt.Sprintf("egress: {allow: [127.0.0.0/8]}\ntracing: {endpoint: %q%s}\n", s.URL, more)
}

// of returns the spans of a trace, by name, once there are so many.
func (s *spans) of(t *testing.T, trace string, n int) map[string]*otlp.Span {
	t.Helper()
	found := map[string]*otlp.Span{}
	if !servertest.WaitFor(func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, span := range s.list {
			if fmt.Sprintf("%x", span.TraceId) == trace {
				found[strings.TrimSpace(fmt.Sprint(span.Name, " ", span.Kind, " ", attributes(span)["gen_ai.tool.name"]))] = span
			}
		}
		return len(found) >= n
	}, 20*time.Second) {
		t.Fatalf("trace %s has %d spans, want %d: %v", trace, len(found), n, found)
	}
	return found
}

// attributes returns those of a span, as texts.
func attributes(span *otlp.Span) map[string]string {
	out := map[string]string{}
	for _, a := range span.GetAttributes() {
		out[a.Key] = a.Value.GetStringValue()
		if n, ok := a.Value.GetValue().(*common.AnyValue_IntValue); ok {
			out[a.Key] = strconv.FormatInt(n.IntValue, 10)
		}
	}
	return out
}

const (
	serverKind = " SPAN_KIND_SERVER"
	clientKind = " SPAN_KIND_CLIENT"
)

// A call through two gates is one trace, from the caller's span on: by the header in
// the REST dialect, by _meta in a message of the Model Context Protocol, from the
// first gate to the second by both.
func TestTraced(t *testing.T) {
	t.Parallel()
	sink := newCollector(t)
	tracing := fmt.Sprintf("tracing: {endpoint: %q, sample: 0, callers: trust, headers: {Authorization: \"Bearer collect\"}}\n", sink.URL+"/") // nothing, but what callers trace
	inner := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return yaml + "  - {id: agent, secondFactor: none, tools: {allow: [echo, greet]}, sans: [\"dns:agent.example\"]}\negress: {allow: [127.0.0.0/8]}\n" + tracing
	}})
	greet := &tool.Prompt{Name: "greet", Described: []byte(`{"name":"greet"}`), Get: func(context.Context, *tool.Call) (*tool.Result, error) {
		return &tool.Result{Structured: []byte(`{"messages":[]}`)}, nil
	}}
	if err := inner.Server.Offer(tool.Offer{Prompts: []*tool.Prompt{greet}}); err != nil {
		t.Fatal(err)
	}
	const first = "4bf92f3577b34da6a3ce929d0e0e4730" // it has started all it will: what the front one leaves behind can be told
	ask(t, inner.Client(inner.Cert("acme")), http.MethodGet, inner.URL+"/tools", "", jwtOf(inner.Key("acme")), "traceparent: 00-"+first+"-00f067aa0ba902b7-01")
	sink.of(t, first, 1)
	dir := t.TempDir()
	inner.CA.Issue(t, pkitest.Leaf{DNS: []string{"agent.example"}}).Write(t, dir, "agent")
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if state := r.Header.Get("Tracestate"); state != "" {
			t.Errorf("the API is told the caller's state %q", state)
		}
		fmt.Fprintf(w, `{"parent":%q}`, r.Header.Get("Traceparent"))
	}))
	t.Cleanup(api.Close)
	var log safeLog
	front := servertest.Start(t, servertest.Options{Log: &log, Files: map[string]string{"inner.crt": string(inner.CA.PEM())}, Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {allow: [\"*_echo\", ticket, echo, m_greet]}\n    keys:", 1) + fmt.Sprintf(`
egress: {allow: [127.0.0.0/8]}
tools: {http: [{name: ticket, description: A ticket., input: {type: object, properties: {id: {type: integer}}}, request: {url: "%s/secret-path/{args.id}"}, response: response.body}]}
mcpServers:
  - {name: m, prefix: m_, protocol: mcp, baseUrl: "%s/mcp", caFile: inner.crt, clientCertificate: {cert: %s/agent.crt, key: %[3]s/agent.key}}
  - {name: o, prefix: o_, protocol: octopus, baseUrl: "%[2]s", caFile: inner.crt, clientCertificate: {cert: %[3]s/agent.crt, key: %[3]s/agent.key}}
%s`, api.URL, inner.URL, dir, tracing)
	}})
	wantListed(t, front, "acme", "echo m_echo o_echo ticket")
	client := front.Client(front.Cert("acme"))
	call := func(path, body string, headers ...string) string {
		t.Helper()
		res := ask(t, client, http.MethodPost, front.URL+path, body, append(headers, asJSON, jwtOf(front.Key("acme")))...)
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", path, res.Status, bodyOf(res))
		}
		return res.Header.Get("X-Request-Id")
	}
	const caller = "00f067aa0ba902b7"
	parent := func(trace, flags string) string { return "00-" + trace + "-" + caller + "-" + flags }

	for _, tt := range []struct {
		name, trace string
		run         func(trace string) (id string)
		spans       int
		path        []string // of spans, each the parent of the next
	}{
		{"REST, to an MCP upstream", "4bf92f3577b34da6a3ce929d0e0e4731", func(trace string) string {
			return call("/tool/m_echo/call", `{"message":"m"}`, "traceparent: "+parent(trace, "01"))
		}, 3, []string{"POST /tool/{name}/call" + serverKind + " m_echo", "tools/call echo" + clientKind + " echo", "tools/call echo" + serverKind + " echo"}},
		{"REST, to an Octopus upstream", "4bf92f3577b34da6a3ce929d0e0e4732", func(trace string) string {
			return call("/tool/o_echo/call", `{"message":"m"}`, "traceparent: "+parent(trace, "01"))
		}, 3, []string{"POST /tool/{name}/call" + serverKind + " o_echo", "tools/call echo" + clientKind + " echo", "POST /tool/{name}/call" + serverKind + " echo"}},
		{"MCP, its own context before that of the transport", "4bf92f3577b34da6a3ce929d0e0e4733", func(trace string) string {
			return call("/mcp", `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"m_echo","arguments":{"message":"m"},"_meta":{"traceparent":"`+parent(trace, "01")+`"}}}`,
				"traceparent: "+parent("4bf92f3577b34da6a3ce929d0e0e47ff", "01"), "Accept: application/json, text/event-stream", "MCP-Protocol-Version: 2025-11-25")
		}, 3, []string{"tools/call m_echo" + serverKind + " m_echo", "tools/call echo" + clientKind + " echo", "tools/call echo" + serverKind + " echo"}},
		{"an HTTP API", "4bf92f3577b34da6a3ce929d0e0e4734", func(trace string) string {
			return call("/tool/ticket/call", `{"id":5}`, "traceparent: "+parent(trace, "01"), "tracestate: theirs=secret")
		}, 2, []string{"POST /tool/{name}/call" + serverKind + " ticket", "GET" + clientKind}},
		{"a prompt", "4bf92f3577b34da6a3ce929d0e0e4738", func(trace string) string {
			return call("/mcp", `{"jsonrpc":"2.0","id":8,"method":"prompts/get","params":{"name":"m_greet"}}`,
				"traceparent: "+parent(trace, "01"), "Accept: application/json, text/event-stream", "MCP-Protocol-Version: 2025-11-25")
		}, 3, []string{"prompts/get m_greet" + serverKind, "prompts/get greet" + clientKind, "prompts/get greet" + serverKind}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := tt.run(tt.trace)
			found, above := sink.of(t, tt.trace, tt.spans), caller
			for _, name := range tt.path {
				span := found[name]
				if span == nil {
					t.Fatalf("no span %q in %v", name, found)
				}
				if got := fmt.Sprintf("%x", span.ParentSpanId); got != above {
					t.Errorf("%q is below %s, want %s", name, got, above)
				}
				above = fmt.Sprintf("%x", span.SpanId)
			}
			first := attributes(found[tt.path[0]])
			if first["sangate.request.id"] != id || first["sangate.tenant"] != "acme" || first["gen_ai.tool.name"]+first["gen_ai.prompt.name"] == "" || (first["gen_ai.operation.name"] == "execute_tool") != (first["gen_ai.tool.name"] != "") || first["client.address"] != "127.0.0.1" {
				t.Errorf("attributes %v", first)
			}
			asked := attributes(found[tt.path[1]])
			if port, err := strconv.Atoi(asked["server.port"]); err != nil || port == 0 || asked["server.address"] != "127.0.0.1" || first["gen_ai.prompt.name"] != "" && asked["gen_ai.prompt.name"] != "greet" {
				t.Errorf("attributes of what is asked %v", asked)
			}
			for _, span := range found {
				if text := fmt.Sprint(span); strings.Contains(text, "secret-path") || strings.Contains(text, front.Key("acme")) {
					t.Errorf("it tells what it should not: %s", text)
				}
			}
		})
	}

	mcpSpan := attributes(sink.of(t, "4bf92f3577b34da6a3ce929d0e0e4733", 3)["tools/call m_echo"+serverKind+" m_echo"])
	if mcpSpan["mcp.method.name"] != "tools/call" || mcpSpan["jsonrpc.request.id"] != "7" || mcpSpan["mcp.protocol.version"] != "2025-11-25" {
		t.Errorf("attributes %v", mcpSpan)
	}
	sink.mu.Lock()
	if sink.token != "Bearer collect" {
		t.Errorf("the collector is told %q", sink.token)
	}
	sink.mu.Unlock()

	// What is refused, and what nobody traces, makes no span; a name that a peer has
	// made up is in none.
	call("/tool/echo/call", `{"message":"m"}`)
	ask(t, client, http.MethodPost, front.URL+"/tool/echo/call", `{"message":"m"}`, asJSON, jwtOf("nobody"), "traceparent: "+parent("4bf92f3577b34da6a3ce929d0e0e4735", "01"))
	call("/tool/echo/call", `{"message":"m"}`, "traceparent: "+parent("4bf92f3577b34da6a3ce929d0e0e4736", "00"))
	ask(t, client, http.MethodPost, front.URL+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"made/up","params":{"name":"made-up","_meta":{"traceparent":"`+parent("4bf92f3577b34da6a3ce929d0e0e4737", "01")+`"}}}`,
		asJSON, jwtOf(front.Key("acme")), "Accept: application/json, text/event-stream", "MCP-Protocol-Version: 2025-11-25")
	sink.of(t, "4bf92f3577b34da6a3ce929d0e0e4737", 1)
	var traces, names []string
	sink.mu.Lock()
	for _, span := range sink.list {
		traces, names = append(traces, fmt.Sprintf("%x", span.TraceId)), append(names, span.Name)
	}
	sink.mu.Unlock()
	slices.Sort(traces)
	if got := len(slices.Compact(traces)); got != 7 {
		t.Errorf("%d traces, want 7", got)
	}
	if !slices.Contains(names, "_OTHER") || slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, "made") }) {
		t.Errorf("spans %v", names)
	}

	// Every line of the log that is about a request says which: of one that the SDK
	// refuses, too.
	for _, method := range []string{"ping", "logging/setLevel"} {
		ask(t, client, http.MethodPost, front.URL+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{"level":"debug","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
			`"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}}}`,
			asJSON, jwtOf(front.Key("acme")), "Accept: application/json, text/event-stream", "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: "+method)
		if !strings.Contains(log.String(), `"msg":"request failed","method":"`+method+`","code":-32601`) {
			t.Errorf("of %s that failed nothing is told", method)
		}
	}
	for line := range strings.Lines(log.String()) {
		var said struct{ Msg, RequestID, Path, Tool, Method string }
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Fatal(err)
		}
		if (strings.HasPrefix(said.Msg, "request") || said.Path != "" || said.Method != "" || said.Tool != "" && !strings.Contains(said.Msg, "upstream")) && said.RequestID == "" {
			t.Errorf("no request id: %s", line)
		}
	}
}

// A request that waited for its issuer's keys is traced as any other: what it asks of
// others is in its trace.
func TestTracedAfterKeys(t *testing.T) {
	t.Parallel()
	sink, issuer := newCollector(t), servertest.NewIssuer(t)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{}`)
	}))
	t.Cleanup(api.Close)
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {allow: [ticket]}\n    keys:", 1) + issuer.Config() + fmt.Sprintf(`
tools: {http: [{name: ticket, description: A ticket., input: {type: object}, request: {url: %q}, response: response.body}]}
tracing: {endpoint: %q}
`, api.URL, sink.URL)
	}})
	const trace = "4bf92f3577b34da6a3ce929d0e0e4741"
	res := ask(t, g.Client(g.Cert("acme")), http.MethodPost, g.URL+"/tool/ticket/call", `{}`, asJSON, jwtOf(issuer.Token(issuer.Claims("acme"))),
		"traceparent: 00-"+trace+"-00f067aa0ba902b7-01")
	if res.StatusCode != http.StatusOK || issuer.Fetches.Load() != 1 {
		t.Fatalf("%s %s, after %d fetches", res.Status, bodyOf(res), issuer.Fetches.Load())
	}
	sink.of(t, trace, 2)
}
