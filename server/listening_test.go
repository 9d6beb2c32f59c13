package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// watchedResource is one that clients can watch, of one tenant or all.
func watchedResource(name, owner string) *tool.Resource {
	uri := "test://" + name
	return &tool.Resource{Name: name, URI: uri, Owner: owner, Watched: true, Described: json.RawMessage(`{"name":"` + name + `","uri":"` + uri + `"}`),
		Read: func(_ context.Context, _ string, call *tool.Call) (*tool.Result, error) {
			return &tool.Result{Structured: json.RawMessage(`{"contents":[{"uri":"` + uri + `","text":"for ` + call.Caller.Tenant + `"}]}`)}, nil
		}}
}

func quietTool(name, owner string) tool.Offer {
	return tool.Offer{Tools: []*tool.Tool{{Name: name, Description: "x", Owner: owner, InputSchema: json.RawMessage(`{"type":"object"}`),
		Handler: func(context.Context, *tool.Call) (*tool.Result, error) { return tool.Text(name), nil }}}}
}

// listening is the official SDK's client, which tells what it was told.
func listening(t *testing.T, g *servertest.Gate, tenant, revision string) (*sdk.ClientSession, chan string) {
	t.Helper()
	told := make(chan string, 100)
	hc := g.Client(g.Cert(tenant))
	hc.Transport = bearer{hc.Transport, g.Key(tenant)}
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, &sdk.ClientOptions{
		ToolListChangedHandler:     func(context.Context, *sdk.ToolListChangedRequest) { told <- "tools" },
		ResourceListChangedHandler: func(context.Context, *sdk.ResourceListChangedRequest) { told <- "resources" },
		ResourceUpdatedHandler: func(_ context.Context, r *sdk.ResourceUpdatedNotificationRequest) {
			told <- r.Params.URI
		}})
	session, err := client.Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: g.URL + "/mcp", HTTPClient: hc, MaxRetries: -1},
		&sdk.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session, told
}

func wantTold(t *testing.T, told chan string, want string) {
	t.Helper()
	select {
	case got := <-told:
		if got != want {
			t.Errorf("told of %s, want %s", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("not told of %s", want)
	}
}

// A client that listens hears what changes for its tenant, and nothing of others'.
func TestListening(t *testing.T) {
	t.Parallel()
	for _, revision := range []string{"2026-07-28", "2025-11-25"} {
		t.Run(revision, func(t *testing.T) {
			g := servertest.Start(t, servertest.Options{Config: allowTools})
			offer := func(o tool.Offer) {
				t.Helper()
				if err := g.Server.Offer(o); err != nil {
					t.Fatal(err)
				}
			}
			offer(tool.Offer{Resources: []*tool.Resource{watchedResource("shared", ""), watchedResource("theirs", "globex")}})
			s, told := listening(t, g, "acme", revision)
			if err := s.Subscribe(t.Context(), &sdk.SubscribeParams{URI: "test://shared"}); err != nil {
				t.Fatal(err)
			}
			if revision == "2025-11-25" { // the newer one agrees to what there is
				if err := s.Subscribe(t.Context(), &sdk.SubscribeParams{URI: "test://theirs"}); err == nil {
					t.Error("subscribed to another tenant's resource")
				}
			}
			g.Server.Updated("test://theirs")
			if !servertest.WaitFor(func() bool {
				g.Server.Updated("test://shared") // until its stream is open
				return len(told) > 0
			}, 5*time.Second) {
				t.Fatal("not told that a resource is another")
			}
			drainTold(told, t, "test://shared")
			offer(quietTool("theirs", "globex"))
			offer(quietTool("ours", ""))
			wantTold(t, told, "tools")
			offer(tool.Offer{Resources: []*tool.Resource{watchedResource("later", "")}})
			wantTold(t, told, "resources")
			res, err := s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "test://later"})
			if err != nil || res.Contents[0].Text != "for acme" {
				t.Errorf("read %v, %v", res, err)
			}
			if err := s.Unsubscribe(t.Context(), &sdk.UnsubscribeParams{URI: "test://shared"}); err != nil {
				t.Fatal(err)
			}
			g.Server.Updated("test://theirs")
			offer(quietTool("also_ours", ""))
			wantTold(t, told, "tools")
		})
	}
}

// drainTold takes what may have been told more than once.
func drainTold(told chan string, t *testing.T, want string) {
	t.Helper()
	for {
		select {
		case got := <-told:
			if got != want {
				t.Errorf("told of %s, want %s", got, want)
			}
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
}

const (
	listenBody = `{"jsonrpc":"2.0","id":"a","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["test://none"]},"_meta":{` +
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}}}`
	acknowledged = `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"a"},"notifications":{"toolsListChanged":true}}}`
)

// listenTo opens a stream and returns its messages, until it ends.
func listenTo(t *testing.T, g *servertest.Gate, c *http.Client, key string) (events chan string, ended chan error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/mcp", strings.NewReader(listenBody))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + key, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"} {
		req.Header.Set(name, value)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(res.Body)
		t.Fatalf("%s, %s: %s", res.Status, res.Header, body)
	}
	events, ended = make(chan string, 10), make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				events <- data
			}
		}
		ended <- lines.Err()
		close(events)
	}()
	return events, ended
}

// A stream is no longer than its certificate, its key and its gate last, and lasts
// longer than a body may take.
func TestListenEnds(t *testing.T) {
	t.Parallel()
	within := func(t *testing.T, ended chan error) {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Error("the stream goes on")
		}
	}
	t.Run("with the gate", func(t *testing.T) {
		g := servertest.Start(t, servertest.Options{})
		events, ended := listenTo(t, g, g.Client(g.Cert("acme")), g.Key("acme"))
		wantTold(t, events, acknowledged)
		select {
		case err := <-ended:
			t.Fatalf("over after less than a body may take: %v", err)
		case <-time.After(11 * time.Second): // more than bodyDeadline
		}
		if err := g.Server.Offer(tool.Offer{}); err != nil { // changes nothing, and is not told
			t.Fatal(err)
		}
		stopped := g.Stop()
		wantTold(t, events, `{"jsonrpc":"2.0","id":"a","result":{"_meta":{"io.modelcontextprotocol/subscriptionId":"a"},"resultType":"complete"}}`)
		within(t, ended)
		select {
		case <-stopped:
		case <-time.After(5 * time.Second):
			t.Error("a stream holds up the end of the gate")
		}
	})
	t.Run("with the key", func(t *testing.T) {
		g := servertest.Start(t, servertest.Options{})
		events, ended := listenTo(t, g, g.Client(g.Cert("acme")), g.Key("acme"))
		wantTold(t, events, acknowledged)
		g.Configure(func(yaml string) string {
			return strings.Replace(yaml, "keys: [{", "keys: [{notAfter: 2020-01-01T00:00:00Z, ", 1)
		})
		within(t, ended)
	})
	t.Run("with the peer", func(t *testing.T) {
		g := servertest.Start(t, servertest.Options{})
		c := g.Client(g.Cert("acme"))
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/mcp", nil)
		if err != nil {
			t.Fatal(err)
		}
		id := begin(t, c, g.URL+"/mcp", "2025-11-25", "Authorization: Bearer "+g.Key("acme"))
		req.Header = http.Header{"Authorization": {"Bearer " + g.Key("acme")}, "Accept": {"text/event-stream"}, "Mcp-Session-Id": {id}}
		res, err := c.Do(req)
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		cancel()
		if _, err := io.ReadAll(res.Body); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		_ = res.Body.Close()
	})
}

// Whose a stream is decides as for any other request of a session.
func TestListenRefused(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	acme, globex := g.Client(g.Cert("acme")), g.Client(g.Cert("globex"))
	id := begin(t, acme, g.URL+"/mcp", "2025-11-25", "Authorization: Bearer "+g.Key("acme"))
	events := "Accept: text/event-stream"
	wantError(t, ask(t, globex, http.MethodGet, g.URL+"/mcp", "", events, "Authorization: Bearer "+g.Key("globex"), "Mcp-Session-Id: "+id), 403, "forbidden")
	wantError(t, ask(t, acme, http.MethodGet, g.URL+"/mcp", "", events, "Authorization: Bearer "+g.Key("acme")), 405, "method_not_allowed")
	wantError(t, ask(t, acme, http.MethodGet, g.URL+"/mcp", "", events, "Mcp-Session-Id: "+id), 401, "unauthorized")
	for name, bad := range map[string]string{
		"no filter":      strings.Replace(listenBody, `"notifications":`, `"other":`, 1),
		"a filter twice": strings.Replace(listenBody, `"toolsListChanged":true`, `"toolsListChanged":7`, 1),
		"an odd id":      strings.Replace(listenBody, `"id":"a"`, "\"id\":[1,\n2]", 1),
	} {
		res := ask(t, acme, http.MethodPost, g.URL+"/mcp", bad, asJSON, accept, "Authorization: Bearer "+g.Key("acme"), "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen")
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode == 200 && !strings.Contains(string(body), `"error"`) {
			t.Errorf("%s: %s %s", name, res.Status, body)
		}
	}
}
