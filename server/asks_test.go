package server_test

//lint:file-ignore SA1019 sampling, roots and logging are spoken for as long as clients do

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// asker is a tool that greets, once it knows whom.
func asker(name string) *tool.Tool {
	return &tool.Tool{Name: name, Asks: true, InputSchema: json.RawMessage(`{"type":"object"}`), Handler: func(_ context.Context, call *tool.Call) (*tool.Result, error) {
		var answer struct{ Content struct{ Name string } }
		if raw := call.Answers["who"]; raw == nil {
			return &tool.Result{State: "of " + call.Caller.Tenant, Asks: map[string]tool.Ask{"who": {Method: tool.Elicit,
				Params: json.RawMessage(`{"mode":"form","message":"Who?","requestedSchema":{"type":"object","properties":{"name":{"type":"string"}}}}`)}}}, nil
		} else if err := json.Unmarshal(raw, &answer); err != nil {
			return nil, err
		}
		return tool.Text(answer.Content.Name + " " + call.State), nil
	}}
}

// A client of the revision that knows it answers what a tool asks for, and the tool
// goes on with its state.
func TestAsks(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: allowTools, Tools: []*tool.Tool{asker("greet")}})
	hc := g.Client(g.Cert("acme"))
	hc.Transport = bearer{hc.Transport, g.Key("acme")}
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, &sdk.ClientOptions{
		ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			return &sdk.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ada"}}, nil
		}})
	s, err := client.Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: g.URL + "/mcp", HTTPClient: hc, MaxRetries: -1}, &sdk.ClientSessionOptions{ProtocolVersion: "2026-07-28"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "greet"})
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := res.Content[0].(*sdk.TextContent); !ok || text.Text != "Ada of acme" {
		t.Errorf("got %v", res.Content)
	}
}

// What a tool keeps with the caller is good for that caller and that tool alone,
// unchanged and for an hour; and nobody is asked who could not answer.
func TestAsksSealed(t *testing.T) {
	t.Parallel()
	var passed atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	g := servertest.Start(t, servertest.Options{Config: allowTools, Now: now, Tools: []*tool.Tool{asker("greet"), asker("other")}})
	long := g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/agent"}, NotAfter: time.Now().Add(5 * time.Hour)})
	acme, globex := g.Client(long), g.Client(g.Cert("globex"))
	type answer struct {
		Error  struct{ Code int }
		Result struct {
			IsError       bool
			RequestState  string
			InputRequests map[string]any
			Content       []struct{ Text string }
		}
	}
	call := func(c *http.Client, tenant, name, capabilities, state string) (int, answer) {
		t.Helper()
		more := ""
		if state != "" {
			more = fmt.Sprintf(`,"requestState":%q,"inputResponses":{"who":{"action":"accept","content":{"name":"Ada"}}}`, state)
		}
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{}%s,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
			`"io.modelcontextprotocol/clientCapabilities":%s,"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}}}`, name, more, capabilities)
		res := ask(t, c, http.MethodPost, g.URL+"/mcp", body, asJSON, accept, "Authorization: Bearer "+g.Key(tenant), "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: "+name)
		raw, err := io.ReadAll(res.Body)
		var a answer
		if err == nil {
			err = json.Unmarshal(raw, &a)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		return res.StatusCode, a
	}
	const can = `{"elicitation":{}}`
	_, first := call(acme, "acme", "greet", can, "")
	state := first.Result.RequestState
	if state == "" || first.Result.InputRequests["who"] == nil {
		t.Fatalf("asks %+v", first)
	}
	if _, a := call(acme, "acme", "greet", can, state); len(a.Result.Content) != 1 || a.Result.Content[0].Text != "Ada of acme" {
		t.Errorf("its own state: %+v", a)
	}
	const invalidParams = -32602
	for _, bad := range []struct {
		who          string
		c            *http.Client
		tenant, name string
		state        string
	}{
		{"another tenant", globex, "globex", "greet", state},
		{"another tool", acme, "acme", "other", state},
		{"changed", acme, "acme", "greet", flip(state)},
		{"made up", acme, "acme", "greet", "b2YgYWNtZQ"},
		{"no base64", acme, "acme", "greet", "of acme"},
	} {
		if _, a := call(bad.c, bad.tenant, bad.name, can, bad.state); a.Error.Code != invalidParams {
			t.Errorf("%s: %+v", bad.who, a)
		}
	}
	passed.Store(int64(time.Hour - time.Minute))
	if _, a := call(acme, "acme", "greet", can, state); a.Error.Code != 0 {
		t.Errorf("after 59 minutes: %+v", a)
	}
	passed.Store(int64(time.Hour + time.Minute))
	if _, a := call(acme, "acme", "greet", can, state); a.Error.Code != invalidParams {
		t.Errorf("after 61 minutes: %+v", a)
	}
	passed.Store(0)
	if status, a := call(acme, "acme", "greet", `{}`, ""); status != 400 || a.Error.Code != sdk.CodeMissingRequiredClientCapabilities {
		t.Errorf("a client that cannot answer: %d %+v", status, a)
	}
	wantError(t, ask(t, acme, http.MethodPost, g.URL+"/tool/greet/call", "{}", asJSON, "Authorization: Bearer "+g.Key("acme")), 422, "tool_error")
	for _, revision := range []string{"2025-11-25", "2025-03-26"} {
		s := mcpClient(t, g, "acme", revision)
		if res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "greet"}); err != nil || !res.IsError {
			t.Errorf("%s: %+v, %v", revision, res, err)
		}
	}
}

// Logs reach those that want them, at the level they want.
func TestLogs(t *testing.T) {
	t.Parallel()
	chatty := &tool.Tool{Name: "chatty", Logs: true, InputSchema: json.RawMessage(`{"type":"object"}`), Handler: func(ctx context.Context, _ *tool.Call) (*tool.Result, error) {
		tool.Log(ctx, "info", "small")
		tool.Log(ctx, "error", map[string]int{"big": 1})
		return tool.Text("done"), nil
	}}
	g := servertest.Start(t, servertest.Options{Config: allowTools, Tools: []*tool.Tool{chatty}})
	hc := g.Client(g.Cert("acme"))
	hc.Transport = bearer{hc.Transport, g.Key("acme")}
	said := make(chan string, 10)
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, &sdk.ClientOptions{
		LoggingMessageHandler: func(_ context.Context, r *sdk.LoggingMessageRequest) {
			said <- fmt.Sprint(r.Params.Level, r.Params.Data)
		}})
	s, err := client.Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: g.URL + "/mcp", HTTPClient: hc, DisableStandaloneSSE: true, MaxRetries: -1}, &sdk.ClientSessionOptions{ProtocolVersion: "2025-11-25"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	call := func(want ...string) {
		t.Helper()
		if _, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "chatty"}); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			wantTold(t, said, w)
		}
		if len(said) > 0 {
			t.Errorf("and %s", <-said)
		}
	}
	call("infosmall", "errormap[big:1]")
	if err := s.SetLoggingLevel(t.Context(), &sdk.SetLoggingLevelParams{Level: "warning"}); err != nil {
		t.Fatal(err)
	}
	call("errormap[big:1]")
	wantOK := ask(t, g.Client(g.Cert("acme")), http.MethodPost, g.URL+"/tool/chatty/call", "{}", asJSON, "Authorization: Bearer "+g.Key("acme"))
	if wantOK.StatusCode != 200 {
		t.Error(wantOK.Status)
	}
}
