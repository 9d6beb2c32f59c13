package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/servertest"
)

// An mcpUpstream is an MCP server that can be broken.
type mcpUpstream struct {
	*sdk.Server
	URL     string
	broken  atomic.Bool // answers 500
	stalled atomic.Bool // answers nothing
	began   chan string // a call of wait
	ended   chan string // and its end
	headers atomic.Value
}

var objectSchema = json.RawMessage(`{"type":"object"}`)

func newMCPUpstream(t *testing.T, stateless bool) *mcpUpstream {
	t.Helper()
	u := &mcpUpstream{Server: sdk.NewServer(&sdk.Implementation{Name: "up", Version: "1"}, nil), began: make(chan string, 10), ended: make(chan string, 10)}
	text := func(s string) *sdk.CallToolResult {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: s}}}
	}
	u.AddTool(&sdk.Tool{Name: "exact", Description: "d", InputSchema: objectSchema}, func(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{StructuredContent: json.RawMessage(`{"z":9007199254740993,"a":1.10,"echo":` + string(r.Params.Arguments) + `}`), Content: []sdk.Content{&sdk.TextContent{Text: "t"}}}, nil
	})
	u.AddTool(&sdk.Tool{Name: "refuse", InputSchema: objectSchema}, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		res := text("not today")
		res.IsError = true
		return res, nil
	})
	u.AddTool(&sdk.Tool{Name: "wait", InputSchema: objectSchema}, func(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		if token := r.Params.GetProgressToken(); token != nil {
			_ = r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: token, Progress: 1, Total: 2, Message: "half"})
			return text("done"), nil
		}
		u.began <- "wait"
		<-ctx.Done()
		u.ended <- "wait"
		return nil, ctx.Err()
	})
	u.AddPrompt(&sdk.Prompt{Name: "hello"}, func(context.Context, *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		return &sdk.GetPromptResult{Messages: []*sdk.PromptMessage{{Role: "user", Content: &sdk.TextContent{Text: "hi"}}}}, nil
	})
	u.AddResource(&sdk.Resource{Name: "a/file", URI: "file:///a"}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: "file:///a", Text: "content"}}}, nil
	})
	h := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return u.Server }, &sdk.StreamableHTTPOptions{Stateless: stateless, PropagateRequestCancellation: true})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.headers.Store(r.Header.Clone())
		if u.broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if u.stalled.Load() {
			_, _ = io.Copy(io.Discard, r.Body) // else net/http does not see that nobody waits any more
			<-r.Context().Done()
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	u.URL = srv.URL
	return u
}

// behind runs a gate in front of upstreams, for acme; each is a line of mcpServers.
func behind(t *testing.T, opts servertest.Options, policy string, upstreams ...string) *servertest.Gate {
	t.Helper()
	opts.Config = func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: "+policy+"\n    keys:", 1) + "egress: {allow: [127.0.0.0/8]}\nmcpServers:\n  - " + strings.Join(upstreams, "\n  - ") + "\n"
	}
	return servertest.Start(t, opts)
}

func listed(t *testing.T, g *servertest.Gate, tenant string) string {
	t.Helper()
	var list []struct {
		Name        string
		Unavailable bool
	}
	body := bodyOf(ask(t, g.Client(g.Cert(tenant)), http.MethodGet, g.URL+"/tools", "", jwtOf(g.Key(tenant))))
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return body
	}
	var names []string
	for _, l := range list {
		if l.Unavailable {
			l.Name += "!"
		}
		names = append(names, l.Name)
	}
	return strings.Join(names, " ")
}

func wantListed(t *testing.T, g *servertest.Gate, tenant, want string) {
	t.Helper()
	var got string
	if !servertest.WaitFor(func() bool { got = listed(t, g, tenant); return got == want }, 15*time.Second) {
		t.Fatalf("%s sees %q, want %q", tenant, got, want)
	}
}

func callTool(t *testing.T, g *servertest.Gate, tenant, name, args string) (int, string) {
	t.Helper()
	res := ask(t, g.Client(g.Cert(tenant)), http.MethodPost, g.URL+"/tool/"+name+"/call", args, jwtOf(g.Key(tenant)))
	return res.StatusCode, bodyOf(res)
}

func TestUpstream(t *testing.T) {
	t.Parallel()
	for name, stateless := range map[string]bool{"with sessions": false, "stateless": true} {
		t.Run(name, func(t *testing.T) {
			u := newMCPUpstream(t, stateless)
			g := behind(t, servertest.Options{}, `{allow: ["u_*"], deny: [u_hello]}`, fmt.Sprintf("{name: up, prefix: u_, baseUrl: %q}", u.URL))
			wantListed(t, g, "acme", "u_exact u_refuse u_wait")
			wantListed(t, g, "globex", "certificate_inspect echo gate_certificates whoami")
			// To the digit, and in its order.
			if status, body := callTool(t, g, "acme", "u_exact", `{"n":12345678901234567890}`); status != 200 || body != `{"z":9007199254740993,"a":1.10,"echo":{"n":12345678901234567890}}` {
				t.Errorf("a result: %d %s", status, body)
			}
			if status, body := callTool(t, g, "acme", "u_refuse", `{}`); status != 422 || !strings.Contains(body, "not today") {
				t.Errorf("a tool that says no: %d %s", status, body)
			}
			if h := u.headers.Load().(http.Header); h.Get("Authorization") != "" || h.Get("X-Octopus-Tenant-Id") != "" {
				t.Errorf("headers of the caller were passed on: %v", h)
			}
			session := mcpClient(t, g, "acme", "2025-11-25")
			if _, err := session.GetPrompt(t.Context(), &sdk.GetPromptParams{Name: "u_hello"}); err == nil {
				t.Error("a denied prompt was got")
			}
			res, err := session.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "file:///a"})
			if err != nil || res.Contents[0].Text != "content" {
				t.Errorf("a resource: %v, %v", res, err)
			}
			// A caller who goes away is felt behind the gate.
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-u.began; cancel() }()
			_, _ = session.CallTool(ctx, &sdk.CallToolParams{Name: "u_wait"})
			select {
			case <-u.ended:
			case <-time.After(10 * time.Second):
				t.Error("the upstream goes on for nobody")
			}
			// What it adds is seen at once.
			u.AddTool(&sdk.Tool{Name: "later", InputSchema: objectSchema}, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
				return &sdk.CallToolResult{}, nil
			})
			wantListed(t, g, "acme", "u_exact u_later u_refuse u_wait")
		})
	}
}

// One that fails keeps its tools, marked, and comes back by itself; the other
// does not notice.
func TestUpstreamOutage(t *testing.T) {
	t.Parallel()
	bad, good := newMCPUpstream(t, true), newMCPUpstream(t, true)
	var log safeLog
	g := behind(t, servertest.Options{Log: &log}, `{allow: ["*_exact", hang]}`,
		fmt.Sprintf("{name: bad, prefix: b_, baseUrl: %q, refresh: 1s}", bad.URL),
		fmt.Sprintf("{name: good, prefix: g_, baseUrl: %q}", good.URL),
		fmt.Sprintf("{name: hung, baseUrl: %q, timeoutMs: 600000}", hung(t)))
	wantListed(t, g, "acme", "b_exact g_exact")
	bad.broken.Store(true)
	wantListed(t, g, "acme", "b_exact! g_exact")
	res := ask(t, g.Client(g.Cert("acme")), http.MethodPost, g.URL+"/tool/b_exact/call", `{}`, jwtOf(g.Key("acme")))
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(bodyOf(res), `"unavailable"`) {
		t.Errorf("a call of it: %d %s", res.StatusCode, bodyOf(res))
	}
	if status, _ := callTool(t, g, "acme", "g_exact", `{}`); status != 200 {
		t.Errorf("the other: %d", status)
	}
	up := func(name string) float64 { return g.Metric("sangate_upstream_up", "server", name) }
	if up("bad") != 0 || up("good") != 1 {
		t.Errorf("up: bad %v, good %v", up("bad"), up("good"))
	}
	session := mcpClient(t, g, "acme", "2026-07-28")
	for tl, err := range session.Tools(t.Context(), nil) {
		if err != nil || (tl.Meta["io.github.sangate/unavailable"] == true) != (tl.Name == "b_exact") {
			t.Errorf("%s: %v, %v", tl.Name, tl.Meta, err)
		}
	}
	bad.broken.Store(false)
	wantListed(t, g, "acme", "b_exact g_exact")
	if up("bad") != 1 || !strings.Contains(log.String(), "upstream is back") {
		t.Errorf("back: up %v", up("bad"))
	}
	// A reload waits for nobody, and lets go of what is no longer named.
	g.Configure(func(yaml string) string { return yaml[:strings.Index(yaml, "  - {name: good")] })
	wantListed(t, g, "acme", "b_exact")
	if _, still := g.By("sangate_upstream_up", "server")["good"]; still {
		t.Error("the one that is gone still has a series")
	}
}

// One that stops answering is noticed by the calls that wait for it, and is there
// again when it answers.
func TestUpstreamStalls(t *testing.T) {
	t.Parallel()
	u := newMCPUpstream(t, true)
	g := behind(t, servertest.Options{}, `{allow: [exact]}`, fmt.Sprintf("{name: up, baseUrl: %q, timeoutMs: 500}", u.URL))
	wantListed(t, g, "acme", "exact")
	u.stalled.Store(true)
	if status, body := callTool(t, g, "acme", "exact", `{}`); status != 504 || !strings.Contains(body, `"timeout"`) {
		t.Errorf("a call: %d %s", status, body)
	}
	wantListed(t, g, "acme", "exact!")
	u.stalled.Store(false)
	wantListed(t, g, "acme", "exact")
	if status, _ := callTool(t, g, "acme", "exact", `{}`); status != 200 {
		t.Errorf("a call afterwards: %d", status)
	}
}

// A call in progress outlasts its upstream's place in the configuration.
func TestUpstreamRemoved(t *testing.T) {
	t.Parallel()
	began, answer := make(chan bool), make(chan bool)
	slow := func(ctx context.Context) {
		began <- true
		select {
		case <-answer:
		case <-ctx.Done():
		}
	}
	u := newMCPUpstream(t, false)
	u.AddTool(&sdk.Tool{Name: "slow", InputSchema: objectSchema}, func(ctx context.Context, _ *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		slow(ctx)
		return &sdk.CallToolResult{StructuredContent: json.RawMessage(`{"late":true}`)}, ctx.Err()
	})
	octopus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `[{"name":"slow","parameters":{"type":"object"}}]`)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		slow(r.Context())
		_, _ = io.WriteString(w, `{"late":true}`)
	}))
	t.Cleanup(octopus.Close)
	for name, url := range map[string]string{"MCP": u.URL, "Octopus": octopus.URL} {
		t.Run(name, func(t *testing.T) {
			g := behind(t, servertest.Options{}, `{allow: [slow]}`, fmt.Sprintf("{name: up, baseUrl: %q}", url))
			wantListed(t, g, "acme", "slow")
			done := make(chan string, 1)
			go func() {
				status, body := callTool(t, g, "acme", "slow", `{}`)
				done <- fmt.Sprint(status, " ", body)
			}()
			<-began
			g.Configure(func(yaml string) string { return yaml[:strings.Index(yaml, "mcpServers:")] })
			wantListed(t, g, "acme", "")
			answer <- true
			if got := <-done; got != `200 {"late":true}` {
				t.Errorf("the call that was in progress: %s", got)
			}
		})
	}
}

// hung takes connections and never answers.
func hung(t *testing.T) string {
	t.Helper()
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	t.Cleanup(func() { close(release); srv.CloseClientConnections(); srv.Close() })
	return srv.URL
}

// What an upstream says of its tools is looked at before anybody sees it; of two
// with one name the first to answer has it, and both are named.
func TestUpstreamVetted(t *testing.T) {
	t.Parallel()
	odd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `[{"name":"good","parameters":{"type":"object"}},{"name":"good","inputSchema":{"type":"object"}},{"name":"null","inputSchema":null},{"name":"none"},
			{"name":"array","inputSchema":{"type":"array"}},{"name":"ref","inputSchema":{"type":"object","$ref":"https://elsewhere.example/"}},{"name":"a b","inputSchema":{"type":"object"}},
			{"name":"../x","inputSchema":{"type":"object"}},{"name":"out","inputSchema":{"type":"object"},"outputSchema":7},{"name":"large","description":%q,"inputSchema":{"type":"object"}},
			{"name":7,"inputSchema":{"type":"object"}},{"name":"whoami","inputSchema":{"type":"object"}}]`, strings.Repeat("x", 40<<10))
	}))
	t.Cleanup(odd.Close)
	var log safeLog
	g := behind(t, servertest.Options{Log: &log}, `{allow: ["*"]}`, fmt.Sprintf("{name: odd, baseUrl: %q}", odd.URL), fmt.Sprintf("{name: twin, baseUrl: %q}", odd.URL), `{name: meta, baseUrl: "https://169.254.169.254"}`)
	wantListed(t, g, "acme", "certificate_inspect echo gate_certificates good whoami")
	for _, want := range []string{`"tool":"null"`, `"tool":"array"`, `"tool":"ref"`, `"tool":"a b"`, `"tool":"../x"`, `"tool":"out"`, `"name":"large"`, `two of this name`,
		`"name":"whoami","upstream":"odd","with":""`, `169.254.169.254 is no public address`} {
		if !servertest.WaitFor(func() bool { return strings.Contains(log.String(), want) }, 5*time.Second) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if !servertest.WaitFor(func() bool {
		return strings.Contains(log.String(), `"name":"good","upstream":"twin","with":"odd"`) ||
			strings.Contains(log.String(), `"name":"good","upstream":"odd","with":"twin"`)
	}, 5*time.Second) {
		t.Error("the log does not say who has the name of two")
	}
}
