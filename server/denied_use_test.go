package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// slow offers tools, resources, a template and a prompt, of which each use goes on until
// its context ends, or release is closed.
func slow(t *testing.T) (began chan string, release chan struct{}, opts servertest.Options) {
	t.Helper()
	began, release = make(chan string, 100), make(chan struct{})
	wait := func(ctx context.Context, name, result string) (*tool.Result, error) {
		began <- name
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-release:
			return &tool.Result{Structured: json.RawMessage(result)}, nil
		}
	}
	for _, name := range []string{"slow_tool", "kept_tool"} {
		made := &tool.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`),
			Handler: func(ctx context.Context, _ *tool.Call) (*tool.Result, error) { return wait(ctx, name, `{}`) }}
		if err := made.Compile(); err != nil {
			t.Fatal(err)
		}
		opts.Tools = append(opts.Tools, made)
	}
	for _, name := range []string{"slow_resource", "kept_resource"} {
		uri := "test://" + name
		opts.Resources = append(opts.Resources, &tool.Resource{Name: name, URI: uri, Described: json.RawMessage(`{"name":"` + name + `","uri":"` + uri + `"}`),
			Read: func(ctx context.Context, uri string, _ *tool.Call) (*tool.Result, error) {
				return wait(ctx, name, `{"contents":[{"uri":"`+uri+`","text":"note"}]}`)
			}})
	}
	opts.Resources = append(opts.Resources, &tool.Resource{Name: "slow_files", URI: "test://files/{name}", Template: true,
		Described: json.RawMessage(`{"name":"slow_files","uriTemplate":"test://files/{name}"}`),
		Read: func(ctx context.Context, uri string, _ *tool.Call) (*tool.Result, error) {
			return wait(ctx, "slow_files", `{"contents":[{"uri":"`+uri+`","text":"file"}]}`)
		}})
	for _, name := range []string{"slow_prompt", "kept_prompt"} {
		opts.Prompts = append(opts.Prompts, &tool.Prompt{Name: name, Described: json.RawMessage(`{"name":"` + name + `","arguments":[{"name":"tone"}]}`),
			Get: func(ctx context.Context, _ *tool.Call) (*tool.Result, error) {
				return wait(ctx, name, `{"messages":[]}`)
			},
			Complete: func(ctx context.Context, _ *tool.Call, _, _ string) ([]string, error) {
				_, err := wait(ctx, name, `{}`)
				return []string{"formal"}, err
			}})
	}
	return began, release, opts
}

// What a request uses is looked at again when the policy changes, whatever it is: a tool,
// a resource, one of a template, a prompt or a completion. If it is denied now, the
// request ends within a second; the others go on.
//
// Holds: client/denied-while-in-use
func TestDeniedWhileInUse(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]string{
		"deny":      `{allow: ["*"], deny: ["slow_*"]}`,
		"condition": `{allow: ["*"], condition: '!tool.startsWith("slow_")'}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began, release, opts := slow(t)
			const before = "{allow: ['*']}"
			opts.Config = func(yaml string) string {
				return strings.Replace(yaml, "    keys:", "    tools: "+before+"\n    keys:", 1)
			}
			g := servertest.Start(t, opts)
			c, token := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
			running := make(map[string]<-chan outcome)
			for _, revision := range []string{"2026-07-28", "2025-11-25"} {
				for _, use := range []struct{ method, named, params string }{
					{"tools/call", "slow_tool", `"name":"slow_tool","arguments":{},`},
					{"tools/call", "kept_tool", `"name":"kept_tool","arguments":{},`},
					{"resources/read", "test://slow_resource", `"uri":"test://slow_resource",`},
					{"resources/read", "test://kept_resource", `"uri":"test://kept_resource",`},
					{"resources/read", "test://files/slow_a", `"uri":"test://files/slow_a",`},
					{"prompts/get", "slow_prompt", `"name":"slow_prompt",`},
					{"prompts/get", "kept_prompt", `"name":"kept_prompt",`},
					{"completion/complete", "", `"ref":{"type":"ref/prompt","name":"slow_prompt"},"argument":{"name":"tone","value":"f"},`},
					{"completion/complete", "", `"ref":{"type":"ref/prompt","name":"kept_prompt"},"argument":{"name":"tone","value":"f"},`},
				} {
					headers := []string{asJSON, token, accept, "MCP-Protocol-Version: " + revision, "Mcp-Method: " + use.method}
					if use.named != "" {
						headers = append(headers, "Mcp-Name: "+use.named)
					}
					body := stateless(use.method, use.params)
					if revision != "2026-07-28" {
						body = fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, use.method, strings.TrimSuffix(use.params, ","))
					}
					running[revision+" "+use.method+" "+use.params] = start(t, c, g.URL+"/mcp", body, headers...)
				}
			}
			for range running {
				select {
				case <-began:
				case <-time.After(10 * time.Second):
					t.Fatal("not all uses have begun")
				}
			}
			counted := g.By(decisions, "reason")
			g.Configure(func(yaml string) string { return strings.Replace(yaml, before, policy, 1) })
			limit, denied := time.After(second), 0
			for use, end := range running {
				if !strings.Contains(use, "slow_") {
					continue
				}
				denied++
				select {
				case o := <-end:
					if o.err != nil {
						t.Fatalf("%s: %v", use, o.err)
					}
					wantError(t, o.res, 403, "forbidden")
				case <-limit:
					t.Fatalf("%s: goes on though it is denied", use)
				}
			}
			wantChange(t, g, decisions, "reason", counted, map[string]float64{"tool_denied": float64(denied)})
			close(release)
			for use, end := range running {
				if strings.Contains(use, "slow_") {
					continue
				}
				if o := <-end; o.err != nil || o.res.StatusCode != 200 {
					t.Errorf("%s: %+v, want it to go on", use, o)
				}
			}
		})
	}
}

// A stream is told no more of a resource that the policy denies by now, and goes on with
// the others.
//
// Holds: client/denied-while-in-use
func TestDeniedWhileWatched(t *testing.T) {
	t.Parallel()
	for _, revision := range []string{"2026-07-28", "2025-11-25"} {
		for name, policy := range map[string]string{
			"deny":      `{allow: ["*"], deny: [secret]}`,
			"condition": `{allow: ["*"], condition: 'tool != "secret"'}`,
		} {
			t.Run(revision+"/"+name, func(t *testing.T) {
				const before = "{allow: ['*']}"
				g := servertest.Start(t, servertest.Options{Resources: []*tool.Resource{watchedResource("secret", ""), watchedResource("shared", "")},
					Config: func(yaml string) string {
						return strings.Replace(yaml, "    keys:", "    tools: "+before+"\n    keys:", 1)
					}})
				events := watching(t, g, revision, "test://secret", "test://shared")
				told := func(uri string) (all []string) {
					t.Helper()
					for {
						select {
						case event := <-events:
							if all = append(all, event); strings.Contains(event, `"uri":"`+uri+`"`) {
								return all
							}
						case <-time.After(10 * time.Second):
							t.Fatalf("not told of %s: %q", uri, all)
						}
					}
				}
				g.Server.Updated("test://secret")
				told("test://secret")
				g.Configure(func(yaml string) string { return strings.Replace(yaml, before, policy, 1) })
				g.Server.Updated("test://secret")
				g.Server.Updated("test://shared")
				if all := told("test://shared"); strings.Contains(strings.Join(all, "\n"), "test://secret") {
					t.Errorf("told of a resource that is denied: %q", all)
				}
			})
		}
	}
}

// watching opens a stream of acme that watches resources, and returns what it is told once
// it is open.
func watching(t *testing.T, g *servertest.Gate, revision string, uris ...string) chan string {
	t.Helper()
	list, err := json.Marshal(uris)
	if err != nil {
		t.Fatal(err)
	}
	c, token := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
	if revision == "2026-07-28" {
		body := stateless("subscriptions/listen", `"notifications":{"resourceSubscriptions":`+string(list)+`},`)
		events := eventsOf(t, c, "POST", g.URL+"/mcp", body, asJSON, accept, token, "MCP-Protocol-Version: "+revision, "Mcp-Method: subscriptions/listen")
		<-events // it is acknowledged
		return events
	}
	session := begin(t, c, g.URL+"/mcp", revision, token)
	for _, uri := range uris {
		ask(t, c, "POST", g.URL+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"`+uri+`"}}`,
			asJSON, accept, token, "Mcp-Session-Id: "+session, "MCP-Protocol-Version: "+revision)
	}
	events := eventsOf(t, c, "GET", g.URL+"/mcp", "", accept, token, "Mcp-Session-Id: "+session, "MCP-Protocol-Version: "+revision)
	<-events // its first sign of life
	return events
}

// eventsOf returns the lines of a stream of events that say something.
func eventsOf(t *testing.T, c *http.Client, method, url, body string, headers ...string) chan string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("no stream: %s, %v", res.Status, res.Header)
	}
	events := make(chan string, 100)
	go func() {
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if line := lines.Text(); line != "" && !strings.HasPrefix(line, "event:") {
				events <- line
			}
		}
		close(events)
	}()
	return events
}
