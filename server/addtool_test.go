package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

type greeting struct {
	Name string `json:"name" jsonschema:"whom to greet"`
}

type greeted struct {
	Text string `json:"text"`
	By   string `json:"by"`
}

// A tool that is added while the gate serves is there at once, for those who may
// call it, and knows who calls.
func TestAddTool(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "  - id: acme\n", "  - id: acme\n    tools: {allow: [greet]}\n", 1)
	}})
	acme, globex := g.Client(g.Cert("acme")), g.Client(g.Cert("globex"))
	key := func(tenant string) string { return "Authorization: Bearer " + g.Key(tenant) }
	greet := func(ctx context.Context, in greeting) (greeted, error) {
		if in.Name == "nobody" {
			return greeted{}, tool.Errorf("there is no %s", in.Name)
		}
		return greeted{"Hello " + in.Name, tool.CallerFrom(ctx).Tenant}, nil
	}
	if err := server.AddTool(g.Server, "greet", "Greets.", greet); err != nil {
		t.Fatal(err)
	}
	if err := server.AddTool(g.Server, "greet", "Greets.", greet); err == nil || !strings.Contains(err.Error(), "greet") {
		t.Errorf("a second one of that name: %v", err)
	}
	if err := server.AddTool(g.Server, "not a name", "", greet); err == nil {
		t.Error("a bad name was taken")
	}
	bad := &tool.Tool{Name: "bad", InputSchema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":""}}}`),
		Handler: func(context.Context, *tool.Call) (*tool.Result, error) { return tool.Text("done"), nil }}
	if err := g.Server.Add(bad); err == nil || !strings.Contains(err.Error(), "x-mcp-header") {
		t.Errorf("a tool that the MCP SDK panics on: %v, want an error", err)
	}
	call := func(c *http.Client, tenant, body string) (int, string) {
		res := ask(t, c, http.MethodPost, g.URL+"/tool/greet/call", body, asJSON, key(tenant))
		data, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(data)
	}
	for _, tc := range []struct {
		body, want string
		status     int
	}{
		{`{"name":"world"}`, `{"text":"Hello world","by":"acme"}`, 200},
		{`{"name":7}`, `invalid_arguments`, 400},
		{`{}`, `invalid_arguments`, 400},
		{`{"name":"x","more":1}`, `invalid_arguments`, 400},
		{`{"name":"nobody"}`, `there is no nobody`, 422},
	} {
		if status, body := call(acme, "acme", tc.body); status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s: %d %s, want %d %s", tc.body, status, body, tc.status, tc.want)
		}
	}
	if status, _ := call(globex, "globex", `{"name":"x"}`); status != 404 {
		t.Errorf("who may not call it: %d", status)
	}
	list := ask(t, acme, http.MethodGet, g.URL+"/tools", "", key("acme"))
	if body, _ := io.ReadAll(list.Body); !strings.Contains(string(body), `"description":"whom to greet"`) {
		t.Errorf("listed as %s", body)
	}
	// It is still there after the configuration changed.
	g.Configure(func(yaml string) string { return strings.Replace(yaml, "[greet]", "[greet, whoami]", 1) })
	if status, body := call(acme, "acme", `{"name":"world"}`); status != 200 {
		t.Errorf("after a reload: %d %s", status, body)
	}
}

// What a tool returns is held against its output schema before anybody sees it.
func TestToolBreaksItsWord(t *testing.T) {
	t.Parallel()
	var log safeLog
	g := servertest.Start(t, servertest.Options{Log: &log})
	for name, res := range map[string]*tool.Result{"wrong": {Structured: []byte(`{"text":7}`)}, "text": tool.Text("s3cret")} {
		err := g.Server.Add(&tool.Tool{Name: name, Builtin: true, InputSchema: []byte(`{"type":"object"}`),
			OutputSchema: []byte(`{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}`),
			Handler:      func(context.Context, *tool.Call) (*tool.Result, error) { return res, nil }})
		if err != nil {
			t.Fatal(err)
		}
		got := ask(t, g.Client(g.Cert("acme")), http.MethodPost, g.URL+"/tool/"+name+"/call", "{}", asJSON, "Authorization: Bearer "+g.Key("acme"))
		wantError(t, got, 500, "internal")
		if !strings.Contains(log.String(), "tool "+name) || strings.Contains(log.String(), "s3cret") {
			t.Errorf("%s: the log does not say so, or says too much", name)
		}
	}
}

// A caller who asks is told how far a tool is, in every revision; one who does
// not gets plain JSON.
func TestProgress(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: allowTools})
	err := server.AddTool(g.Server, "steps", "", func(ctx context.Context, _ struct{}) (struct{}, error) {
		for i := range 3 {
			tool.Progress(ctx, float64(i+1), 3, fmt.Sprintf("step %d", i+1))
		}
		return struct{}{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, revision := range revisions {
		t.Run(revision, func(t *testing.T) {
			var mu sync.Mutex
			var told []string
			hc := g.Client(g.Cert("acme"))
			hc.Transport = bearer{hc.Transport, g.Key("acme")}
			client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, &sdk.ClientOptions{
				ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, fmt.Sprintf("%v %v/%v %s", r.Params.ProgressToken, r.Params.Progress, r.Params.Total, r.Params.Message))
				}})
			s, err := client.Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: g.URL + "/mcp", HTTPClient: hc, DisableStandaloneSSE: true, MaxRetries: -1},
				&sdk.ClientSessionOptions{ProtocolVersion: revision})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			params := &sdk.CallToolParams{Name: "steps", Meta: sdk.Meta{"progressToken": "p"}}
			if _, err := s.CallTool(t.Context(), params); err != nil {
				t.Fatal(err)
			}
			want := []string{"p 1/3 step 1", "p 2/3 step 2", "p 3/3 step 3"}
			all := func() bool { mu.Lock(); defer mu.Unlock(); return slices.Equal(told, want) }
			if !servertest.WaitFor(all, 5*time.Second) {
				t.Errorf("told %q", told)
			}
			if _, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "steps"}); err != nil || len(told) != 3 {
				t.Errorf("without a token: %v, told %q", err, told)
			}
		})
	}
}

// A caller who goes ends the tool's context.
func TestToolIsCancelled(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: allowTools})
	began, ended := make(chan struct{}), make(chan error, 1)
	err := server.AddTool(g.Server, "long", "", func(ctx context.Context, _ struct{}) (struct{}, error) {
		close(began)
		<-ctx.Done()
		ended <- ctx.Err()
		return struct{}{}, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+"/tool/long/call", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+g.Key("acme"))
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if res, err := g.Client(g.Cert("acme")).Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-began
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the tool goes on")
	}
	<-gone
}

// The Go block of the README is the example that is run.
func TestREADMEBlock(t *testing.T) {
	t.Parallel()
	readme, example := readFile(t, "../README.md"), readFile(t, "example_test.go")
	_, rest, ok := strings.Cut(readme, "```go\n")
	block, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("the README has no Go block")
	}
	for part := range strings.SplitSeq(strings.TrimSpace(block), "\n\n") {
		if !strings.Contains(example, part) {
			t.Errorf("not in server/example_test.go:\n%s", part)
		}
	}
}
