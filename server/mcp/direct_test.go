package mcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/mcp"
	"github.com/sangate/sangate/server/tenant"
	"github.com/sangate/sangate/server/tool"
)

// A bench is a handler and the decision that its requests have passed.
type bench struct {
	handler  *mcp.Handler
	decision auth.Decision
}

func newBench(t testing.TB) *bench {
	t.Helper()
	catalog, err := tool.NewCatalog(directTools(t))
	if err != nil {
		t.Fatal(err)
	}
	who := &tenant.Tenant{ID: "acme", Enabled: true, Tools: &tenant.Tools{Allow: []string{"*"}}}
	b := &bench{decision: auth.Decision{Stage: auth.Passed, Reason: auth.OK, Tenant: who, Snapshot: &auth.Snapshot{Tools: catalog},
		Principal: auth.Principal{TenantID: "acme", Identity: &pki.Identity{}}, Tools: catalog.View(who)}}
	b.handler = mcp.New(mcp.Options{MaxBody: 1 << 20, Version: "test", Now: time.Now,
		Admit: func(r *http.Request, name string, args []byte) *auth.Decision {
			d := auth.DecisionFrom(r.Context())
			if name != "" {
				d.Call(r.Context(), name, args)
			}
			return d
		},
		Run:    func(ctx context.Context, t *tool.Tool, c *tool.Call) (*tool.Result, error) { return t.Call(ctx, c) },
		Expect: func(r *http.Request, _ mcp.Kind) *auth.Decision { return auth.DecisionFrom(r.Context()) },
		Use: func(ctx context.Context, _ mcp.Use, do func(context.Context) (*tool.Result, error)) (*tool.Result, error) {
			return do(ctx)
		}})
	return b
}

// directTools are tools whose results are of every kind.
func directTools(t testing.TB) []*tool.Tool {
	t.Helper()
	type in struct {
		Message string `json:"message" jsonschema:"what to say"`
	}
	typed, err := tool.New("typed", "Says it.", func(_ context.Context, i in) (in, error) { return i, nil })
	if err != nil {
		t.Fatal(err)
	}
	typed.ReadOnly = true
	out := []*tool.Tool{typed}
	for name, h := range map[string]tool.Handler{
		"any": func(_ context.Context, c *tool.Call) (*tool.Result, error) {
			return &tool.Result{Structured: c.Arguments}, nil
		},
		"text": func(context.Context, *tool.Call) (*tool.Result, error) {
			return tool.Text("a \"b\" <c> ä \u2028"), nil
		},
		"image": func(context.Context, *tool.Call) (*tool.Result, error) {
			return &tool.Result{Content: json.RawMessage(`[{"type":"image","data":"aGk=","mimeType":"image/png","annotations":{"priority":0.5}},{"type":"text","text":"t","annotations":{"audience":["user"]}}]`)}, nil
		},
		"both": func(context.Context, *tool.Call) (*tool.Result, error) {
			return &tool.Result{Content: json.RawMessage(` [ {"text":"t","type":"text"} ] `), Structured: json.RawMessage(` {"a": 1.50, "b":[12345678901234567890] }`)}, nil
		},
		"empty": func(context.Context, *tool.Call) (*tool.Result, error) {
			return &tool.Result{Content: json.RawMessage(`[]`)}, nil
		},
		"list": func(context.Context, *tool.Call) (*tool.Result, error) {
			return &tool.Result{Structured: json.RawMessage(`[1,"two"]`)}, nil
		},
		"odd": func(context.Context, *tool.Call) (*tool.Result, error) {
			return &tool.Result{Content: json.RawMessage(`[{"type":"hologram","text":"t"}]`)}, nil
		},
		"broken": func(context.Context, *tool.Call) (*tool.Result, error) {
			return &tool.Result{Structured: json.RawMessage(`{"a":`)}, nil
		},
		"injects": func(context.Context, *tool.Call) (*tool.Result, error) {
			return &tool.Result{Structured: json.RawMessage(`1},"error":{}`)}, nil
		},
		"nothing": func(context.Context, *tool.Call) (*tool.Result, error) { return nil, nil },
		"no": func(context.Context, *tool.Call) (*tool.Result, error) {
			r := tool.Text("no")
			r.IsError = true
			r.Structured = json.RawMessage(`{"code":7}`)
			return r, nil
		},
		"fails": func(context.Context, *tool.Call) (*tool.Result, error) {
			return nil, tool.Errorf("not on %s", "Mondays")
		},
		"errs":   func(context.Context, *tool.Call) (*tool.Result, error) { return nil, errors.New("s3cret") },
		"panics": func(context.Context, *tool.Call) (*tool.Result, error) { panic("s3cret") },
		"late":   func(context.Context, *tool.Call) (*tool.Result, error) { return nil, context.DeadlineExceeded },
		"behind": func(context.Context, *tool.Call) (*tool.Result, error) {
			return nil, &tool.UpstreamError{Kind: tool.UpstreamUnavailable, Err: errors.New("s3cret")}
		},
	} {
		tl := &tool.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`), Handler: h}
		if err := tl.Compile(); err != nil {
			t.Fatal(err)
		}
		out = append(out, tl)
	}
	header := &tool.Tool{Name: "header", InputSchema: json.RawMessage(`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}`), Handler: out[1].Handler}
	if err := header.Compile(); err != nil {
		t.Fatal(err)
	}
	return append(out, header)
}

// A sent is a request as a client sends it.
type sent struct {
	Header map[string]string `json:"header"` // those that this dialect looks at
	Body   string            `json:"body"`
}

// answer has one way answer.
func (b *bench) answer(s sent, post func(w http.ResponseWriter, r *http.Request)) *http.Response {
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(s.Body))
	for name, value := range s.Header {
		if name != "Mcp-Session-Id" { // of another process
			r.Header.Set(name, value)
		}
	}
	decision := b.decision
	w := httptest.NewRecorder()
	post(w, r.WithContext(auth.WithDecision(r.Context(), &decision)))
	return w.Result()
}

// hold holds the two ways against each other, and reports whether there are two:
// whether the direct path has answered.
func (b *bench) hold(t *testing.T, s sent) (direct bool) {
	t.Helper()
	got := b.answer(s, func(w http.ResponseWriter, r *http.Request) { direct = b.handler.PostDirect(w, r) })
	if !direct {
		return false
	}
	want := b.answer(s, b.handler.PostBySDK)
	for _, res := range []*http.Response{got, want} {
		if res.Header.Get("Mcp-Session-Id") != "" {
			res.Header.Set("Mcp-Session-Id", "some")
		}
		res.Header.Del("Content-Length") // net/http sets what is missing
	}
	if got.StatusCode != want.StatusCode || !maps.EqualFunc(got.Header, want.Header, func(a, b []string) bool { return reflect.DeepEqual(a, b) }) {
		t.Errorf("%q %q: %d %v, by the SDK %d %v", s.Header, s.Body, got.StatusCode, got.Header, want.StatusCode, want.Header)
	}
	a, b2 := read(t, got), read(t, want)
	if !reflect.DeepEqual(decoded(a), decoded(b2)) {
		t.Errorf("%q %q:\n%s\nby the SDK\n%s", s.Header, s.Body, a, b2)
	}
	if strings.Contains(string(a), "s3cret") {
		t.Errorf("%q tells: %s", s.Body, a)
	}
	return true
}

func read(t *testing.T, res *http.Response) []byte {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// decoded is the JSON of a body with its digits, or the body itself. Text that is
// JSON is decoded, too: the SDK writes the structured result in it in other
// letters.
func decoded(body []byte) any {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return string(body)
	}
	return v
}

const fullMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{}}},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"traceparent":"00-1"}`

// request makes one of a revision.
func request(revision, method, name, id, params string) sent {
	h := map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
	if revision != "" {
		h["Mcp-Protocol-Version"] = revision
	}
	if revision == "2026-07-28" {
		h["Mcp-Method"] = method
		if name != "" {
			h["Mcp-Name"] = name
		}
		params = strings.TrimSuffix(strings.TrimSuffix(params, "}")+","+fullMeta, ",")
		params = strings.Replace(params, "{,", "{", 1) + "}"
	}
	return sent{h, `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":` + params + `}`}
}

// TestDirect: every kind of result, in every revision, is answered by the direct
// path, as by the SDK.
func TestDirect(t *testing.T) {
	b := newBench(t)
	for _, revision := range []string{"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", ""} {
		for _, tl := range b.decision.Tools.Tools {
			for _, args := range []string{`,"arguments":{"message":"a \"b\" <c> ä \u2028","n":12345678901234567890}`, `,"arguments":{"message":"x"}`, `,"arguments":{"message":1}`, `,"arguments":{}`, ``} {
				direct := b.hold(t, request(revision, "tools/call", tl.Name, `"a<1"`, `{"name":"`+tl.Name+`"`+args+`}`))
				if want := tl.Name != "header" || revision != "2026-07-28"; direct != want {
					t.Errorf("%s %s%s: direct: %v, want %v", revision, tl.Name, args, direct, want)
				}
			}
		}
		for range 2 { // made, and kept
			for method, params := range map[string]string{"tools/list": `{}`, "server/discover": `{}`, "ping": `{}`,
				"initialize": `{"protocolVersion":"2025-06-18","capabilities":{"roots":{}},"clientInfo":{"name":"c","version":"1"}}`} {
				direct := b.hold(t, request(revision, method, "", "-7", params))
				want := (revision == "2026-07-28") == (method == "server/discover") || method == "tools/list"
				if direct != want {
					t.Errorf("%s %s: direct: %v, want %v", revision, method, direct, want)
				}
			}
		}
	}
}

// notDirect are requests that the direct path must leave alone: what the SDK
// makes of them, it could not.
func TestNotDirect(t *testing.T) {
	b := newBench(t)
	good := request("2026-07-28", "tools/call", "typed", "1", `{"name":"typed","arguments":{"message":"a"}}`)
	older := request("2025-11-25", "tools/call", "typed", "1", `{"name":"typed","arguments":{"message":"a"}}`)
	if !b.hold(t, good) || !b.hold(t, older) {
		t.Fatal("what the others are made of is not direct itself")
	}
	with := func(s sent, name, value string) sent {
		h := maps.Clone(s.Header)
		h[name] = value
		if value == "" {
			delete(h, name)
		}
		return sent{h, s.Body}
	}
	body := func(s sent, old, new string) sent {
		if !strings.Contains(s.Body, old) {
			t.Fatalf("%q is not in %q", old, s.Body)
		}
		return sent{s.Header, strings.Replace(s.Body, old, new, 1)}
	}
	for name, s := range map[string]sent{
		"no Accept":                 with(good, "Accept", ""),
		"Accept of JSON alone":      with(good, "Accept", "application/json"),
		"no Content-Type":           with(good, "Content-Type", ""),
		"no Mcp-Method":             with(good, "Mcp-Method", ""),
		"other Mcp-Method":          with(good, "Mcp-Method", "tools/list"),
		"no Mcp-Name":               with(good, "Mcp-Name", ""),
		"other Mcp-Name":            with(good, "Mcp-Name", "any"),
		"no version":                with(good, "Mcp-Protocol-Version", ""),
		"older version":             with(good, "Mcp-Protocol-Version", "2025-11-25"),
		"unknown version":           with(older, "Mcp-Protocol-Version", "2025-01-01"),
		"later version":             with(good, "Mcp-Protocol-Version", "2027-01-01"),
		"Last-Event-Id":             with(older, "Last-Event-Id", "1"),
		"no _meta":                  sent{good.Header, older.Body},
		"_meta of 2026 in 2025":     sent{older.Header, good.Body},
		"no capabilities":           body(good, `"io.modelcontextprotocol/clientCapabilities"`, `"x"`),
		"odd capabilities":          body(good, `{"listChanged":true}`, `{"listChanged":1}`),
		"capabilities of no object": body(good, `"sampling":{}`, `"sampling":[]`),
		"odd client":                body(good, `"name":"t"`, `"name":7`),
		"log level":                 body(good, `"traceparent"`, `"io.modelcontextprotocol/logLevel"`),
		"progress":                  body(good, `"traceparent"`, `"progressToken"`),
		"unknown parameter":         body(good, `"name":"typed"`, `"name":"typed","requestState":"x"`),
		"cursor":                    request("2025-11-25", "tools/list", "", "1", `{"cursor":"x"}`),
		"unknown tool":              body(older, `"name":"typed"`, `"name":"nobody"`),
		"name of no text":           body(older, `"name":"typed"`, `"name":1`),
		"arguments of no object":    body(older, `{"message":"a"}`, `[1]`),
		"arguments null":            body(older, `{"message":"a"}`, `null`),
		"id null":                   body(older, `"id":1`, `"id":null`),
		"id of an object":           body(older, `"id":1`, `"id":{}`),
		"id with a point":           body(older, `"id":1`, `"id":1.5`),
		"id of 20 digits":           body(older, `"id":1`, `"id":12345678901234567890`),
		"no id":                     body(older, `"id":1,`, ``),
		"initialize of 2026":        request("2026-07-28", "initialize", "", "1", `{"protocolVersion":"2026-07-28","capabilities":{},"clientInfo":{"name":"c","version":"1"}}`),
		"initialize of another":     request("", "initialize", "", "1", `{"protocolVersion":"1999-01-01","capabilities":{},"clientInfo":{"name":"c","version":"1"}}`),
		"initialize of nobody":      request("", "initialize", "", "1", `{"protocolVersion":"2025-06-18"}`),
		"notification":              {older.Header, `{"jsonrpc":"2.0","method":"notifications/initialized"}`},
		"response":                  {older.Header, `{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`},
		"resources":                 request("2025-11-25", "resources/list", "", "1", `{}`),
	} {
		if b.hold(t, s) {
			t.Errorf("%s: answered directly", name)
		}
	}
}

// FuzzDirect checks that what the direct path answers, it answers as the SDK does.
//
// Holds: client/direct-path-agrees
func FuzzDirect(f *testing.F) {
	b := newBench(f)
	for _, revision := range []string{"2026-07-28", "2025-11-25", ""} {
		for _, s := range []sent{request(revision, "tools/call", "typed", "1", `{"name":"typed","arguments":{"message":"a"}}`),
			request(revision, "tools/list", "", `"x"`, `{}`), request(revision, "ping", "", "2", `{}`), request(revision, "server/discover", "", "3", `{}`),
			request(revision, "initialize", "", "4", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}`)} {
			f.Add(revision, s.Header["Mcp-Method"], s.Header["Mcp-Name"], s.Header["Accept"], s.Body)
		}
	}
	f.Fuzz(func(t *testing.T, revision, method, name, accept, body string) {
		h := map[string]string{"Content-Type": "application/json"}
		for header, value := range map[string]string{"Mcp-Protocol-Version": revision, "Mcp-Method": method, "Mcp-Name": name, "Accept": accept} {
			if value != "" {
				h[header] = value
			}
		}
		b.hold(t, sent{h, body})
	})
}

// TestMetasAreBounded: what clients say of themselves is remembered, so many of
// them, and nothing that is another with each request.
func TestMetasAreBounded(t *testing.T) {
	b := newBench(t)
	ask := func(client, more string) {
		s := request("2026-07-28", "tools/list", "", "1", `{}`)
		s.Body = strings.Replace(strings.Replace(s.Body, `"name":"t"`, `"name":"`+client+`"`, 1), `,"traceparent":"00-1"`, more, 1)
		if res := b.answer(s, b.handler.Post); res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d", s.Body, res.StatusCode)
		}
	}
	for i := range 3 {
		ask("one", "")
		ask("one", `,"traceparent":"00-`+strconv.Itoa(i)+`"`)
		ask(strings.Repeat("long", 500+i), "")
	}
	if n := b.handler.Metas(); n != 1 {
		t.Errorf("%d are remembered, want one", n)
	}
	for i := range 1100 {
		ask("client "+strconv.Itoa(i), "")
	}
	if n := b.handler.Metas(); n != 1024 {
		t.Errorf("%d are remembered, want 1024", n)
	}
}

// TestArgumentsAreTheTools: what a tool keeps of a call is not written over by the
// next one.
func TestArgumentsAreTheTools(t *testing.T) {
	b := newBench(t)
	var kept []json.RawMessage
	for _, tl := range b.decision.Tools.Tools {
		if tl.Name == "any" {
			tl.Handler = func(_ context.Context, c *tool.Call) (*tool.Result, error) {
				kept = append(kept, c.Arguments)
				return &tool.Result{Structured: c.Arguments}, nil
			}
		}
	}
	for i := range 100 {
		s := request("2026-07-28", "tools/call", "any", "1", `{"name":"any","arguments":{"n":`+strconv.Itoa(1000+i)+`}}`)
		if res := b.answer(s, b.handler.Post); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	}
	for i, args := range kept {
		if want := `{"n":` + strconv.Itoa(1000+i) + `}`; string(args) != want {
			t.Fatalf("%s was kept, is %s now", want, args)
		}
	}
}

func BenchmarkPost(b *testing.B) {
	bench := newBench(b)
	for _, revision := range []string{"2026-07-28", "2025-11-25"} {
		for name, s := range map[string]sent{
			"call": request(revision, "tools/call", "typed", "1", `{"name":"typed","arguments":{"message":"hello"}}`),
			"list": request(revision, "tools/list", "", "1", `{}`),
		} {
			b.Run(name+" "+revision, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if res := bench.answer(s, bench.handler.Post); res.StatusCode != http.StatusOK {
						b.Fatal(res.Status)
					}
				}
			})
		}
	}
}
