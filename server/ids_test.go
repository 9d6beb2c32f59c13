package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// goodIDs are ids that readers of JSON have different ideas of.
var goodIDs = []string{`1`, `0`, `-0`, `-1`, `9007199254740993`, `-9223372036854775809`, `123456789012345678901234567890`, strings.Repeat("9", 400), `1.0`, `1.5e1`, `1e2`,
	`""`, `"a"`, `"\u0061<>&\/"`, `"é"`, `"1"`, `"` + strings.Repeat("x", 3000) + `"`}

// idOf returns the id of a message, as it stands.
func idOf(t *testing.T, message string) string {
	t.Helper()
	var m struct {
		ID     json.RawMessage
		Method string
		Result json.RawMessage
		Error  json.RawMessage
	}
	if err := json.Unmarshal([]byte(message), &m); err != nil || (m.Result == nil) == (m.Error == nil) || m.Method != "" {
		t.Errorf("%.200s is no response: %v", message, err)
	}
	return string(m.ID)
}

// progressing is a tool that tells how far it is.
func progressing(t *testing.T) *tool.Tool {
	t.Helper()
	made := &tool.Tool{Name: "steps", InputSchema: json.RawMessage(`{"type":"object"}`),
		Handler: func(_ context.Context, call *tool.Call) (*tool.Result, error) {
			if call.Progress != nil {
				call.Progress(1, 2, `{"jsonrpc":"2.0","id":1,"result":{}}`)
			}
			return &tool.Result{Structured: json.RawMessage(`{"jsonrpc":"2.0","id":1,"result":{},"large":"` + strings.Repeat("x", 20<<10) + `"}`)}, nil
		}}
	if err := made.Compile(); err != nil {
		t.Fatal(err)
	}
	return made
}

// An answer has the id of its request exactly as it was sent, whoever writes it: the direct
// path, the SDK, in JSON and in events, results and errors. The token of progress comes back
// in the same way.
//
// Holds: client/id-as-sent
func TestIDsAsSent(t *testing.T) {
	t.Parallel()
	_, opts := counted(t)
	opts.Tools = append(opts.Tools, progressing(t))
	opts.Config = func(yaml string) string { return strings.ReplaceAll(yaml, "    keys:", allowAll+"    keys:") }
	g := servertest.Start(t, opts)
	c, token := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
	const (
		inJSON   = "Accept: application/json, text/event-stream"
		inEvents = "Accept: text/event-stream, application/json"
	)
	session := begin(t, c, g.URL+"/mcp", "2025-11-25", token)
	for _, revision := range []string{"2026-07-28", "2025-11-25", "2025-03-26"} {
		for _, use := range []struct{ name, method, named, params string }{
			{"direct", "tools/list", "", ``},
			{"direct call", "tools/call", "count", `"name":"count","arguments":{},`},
			{"large call", "tools/call", "steps", `"name":"steps","arguments":{},`},
			{"resource", "resources/read", "test://notes/a", `"uri":"test://notes/a",`},
			{"list", "prompts/list", "", ``},
			{"prompt", "prompts/get", "draft", `"name":"draft",`},
			{"unknown resource", "resources/read", "test://none", `"uri":"test://none",`},
			{"unknown tool", "tools/call", "none", `"name":"none","arguments":{},`},
			{"unknown method", "no/such", "", ``},
			{"bad parameters", "prompts/get", "7", `"name":7,`},
			{"no parameters", "completion/complete", "", ``},
		} {
			if use.method == "no/such" && revision != "2026-07-28" {
				continue // the SDK says so in plain text, so the gate in its own error, which has no id
			}
			for _, acceptance := range []string{inJSON, inEvents} {
				for _, id := range goodIDs {
					headers := []string{asJSON, token, acceptance, "MCP-Protocol-Version: " + revision, "Mcp-Method: " + use.method}
					if use.named != "" {
						headers = append(headers, "Mcp-Name: "+use.named)
					}
					body := stateless(use.method, use.params)
					if revision != "2026-07-28" {
						headers = append(headers, "Mcp-Session-Id: "+session)
						body = fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, use.method, strings.TrimSuffix(use.params, ","))
					}
					body = strings.Replace(body, `"id":1`, `"id":`+id, 1)
					res := ask(t, c, http.MethodPost, g.URL+"/mcp", body, headers...)
					answer := bodyOf(res)
					if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
						answer = strings.TrimPrefix(strings.TrimSpace(answer), "event: message\ndata: ")
					}
					if got := idOf(t, answer); got != id {
						t.Errorf("%s, %s, %s: id %.60s comes back as %.60s (%s)", revision, use.name, acceptance, id, got, res.Status)
					}
				}
			}
		}
		for _, id := range goodIDs {
			headers := []string{asJSON, token, accept, "MCP-Protocol-Version: " + revision, "Mcp-Method: tools/call", "Mcp-Name: steps"}
			params, meta := `"name":"steps","arguments":{},`, `"progressToken":`+id
			body := strings.Replace(stateless("tools/call", params), `"_meta":{`, `"_meta":{`+meta+`,`, 1)
			if revision != "2026-07-28" {
				headers = append(headers, "Mcp-Session-Id: "+session)
				body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + params + `"_meta":{` + meta + `}}}`
			}
			body = strings.Replace(body, `"id":1`, `"id":`+id, 1)
			events := strings.Split(strings.TrimSpace(bodyOf(ask(t, c, http.MethodPost, g.URL+"/mcp", body, headers...))), "\n\n")
			if len(events) != 2 {
				t.Fatalf("%s: progress by %.60s: %.300q, want progress and a response", revision, id, events)
			}
			var progress struct {
				ID     json.RawMessage
				Params struct{ ProgressToken json.RawMessage }
			}
			if err := json.Unmarshal([]byte(strings.TrimPrefix(events[0], "event: message\ndata: ")), &progress); err != nil || progress.ID != nil ||
				!sameJSON(string(progress.Params.ProgressToken), id) {
				t.Errorf("%s: the token %.60s comes back in %.300s", revision, id, events[0])
			}
			if got := idOf(t, strings.TrimPrefix(events[1], "event: message\ndata: ")); got != id {
				t.Errorf("%s: beside progress id %.60s comes back as %.60s", revision, id, got)
			}
		}
	}
}

// sameJSON reports whether a number is written as the other, or a text says the same.
func sameJSON(a, b string) bool {
	if a == "" || a[0] != '"' {
		return a == b
	}
	x, errX := jsontext.AppendUnquote(nil, a)
	y, errY := jsontext.AppendUnquote(nil, b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// What the protocol has no ids of is refused before anything is run: a fraction by an error
// with the id as it was sent. A notification may have null.
//
// Holds: client/id-as-sent
func TestIDsRefused(t *testing.T) {
	t.Parallel()
	uses, opts := counted(t)
	opts.Config = func(yaml string) string { return strings.ReplaceAll(yaml, "    keys:", allowAll+"    keys:") }
	g := servertest.Start(t, opts)
	c, token := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
	for id, want := range map[string]string{`1.5`: `1.5`, `-0.1`: `-0.1`, `15e-1`: `15e-1`, `1E-400`: `1E-400`, `1e-99999999999999999999`: `1e-99999999999999999999`,
		`null`: ``, `true`: ``, `[1]`: ``, `{"a":1}`: ``} {
		for _, params := range []string{`"name":"count","arguments":{}`, `"name":"count","arguments":{},"_meta":{"progressToken":1}`} {
			before := g.By(decisions, "reason")
			res := ask(t, c, http.MethodPost, g.URL+"/mcp", `{"jsonrpc":"2.0","id":`+id+`,"method":"tools/call","params":{`+params+`}}`, asJSON, token, accept)
			body := bodyOf(res)
			prefix := `{"jsonrpc":"2.0","id":` + want + `,"error":{"code":-32600,`
			if want == "" {
				prefix = `{"error":"bad_request","message":"The id of a request`
			}
			if !strings.HasPrefix(body, prefix) || res.StatusCode != 400 || !json.Valid([]byte(body)) {
				t.Errorf("id %s: %s %s", id, res.Status, body)
			}
			wantChange(t, g, decisions, "reason", before, map[string]float64{"ok": 1})
		}
	}
	if n := uses.Load(); n != 0 {
		t.Errorf("%d calls ran", n)
	}
	if res := ask(t, c, http.MethodPost, g.URL+"/mcp", `{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}`, asJSON, token, accept); res.StatusCode != 202 {
		t.Errorf("a notification with null: %s %s", res.Status, bodyOf(res))
	}
}
