package octopus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

const toolTimeout = 300 * time.Millisecond

type order struct {
	Item  string `json:"item"`
	Count int    `json:"count"`
	Note  string `json:"note,omitempty"`
}

func tools(t *testing.T) []*tool.Tool {
	t.Helper()
	book, err := tool.New("order", "Orders.", func(_ context.Context, in order) (order, error) { return in, nil })
	if err != nil {
		t.Fatal(err)
	}
	out := []*tool.Tool{book}
	for name, h := range map[string]tool.Handler{
		"any": func(_ context.Context, c *tool.Call) (*tool.Result, error) {
			return &tool.Result{Structured: c.Arguments}, nil
		},
		"text":   func(context.Context, *tool.Call) (*tool.Result, error) { return tool.Text("done"), nil },
		"refuse": func(context.Context, *tool.Call) (*tool.Result, error) { return nil, tool.Errorf("out of tea") },
		"refuse_content": func(context.Context, *tool.Call) (*tool.Result, error) {
			res := tool.Text("out of milk")
			res.IsError = true
			return res, nil
		},
		"panic":   func(context.Context, *tool.Call) (*tool.Result, error) { panic("hush: s3cret") },
		"break":   func(context.Context, *tool.Call) (*tool.Result, error) { return nil, io.ErrUnexpectedEOF },
		"nothing": func(context.Context, *tool.Call) (*tool.Result, error) { return nil, nil },
		"slow": func(ctx context.Context, _ *tool.Call) (*tool.Result, error) {
			if end, ok := ctx.Deadline(); !ok || time.Until(end) > toolTimeout {
				return nil, tool.Errorf("has until %v", end)
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		},
	} {
		tl := &tool.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`), Handler: h}
		if err := tl.Compile(); err != nil {
			t.Fatal(err)
		}
		out = append(out, tl)
	}
	return out
}

func start(t *testing.T) (g *servertest.Gate, log *syncBuffer, ask func(t *testing.T, method, path, body string) *http.Response) {
	t.Helper()
	log = new(syncBuffer)
	g = servertest.Start(t, servertest.Options{Tools: tools(t), Log: log, Config: func(yaml string) string {
		return strings.Replace(yaml, "  - id: acme\n", "  - id: acme\n    tools: {allow: ['*'], deny: [certificate_inspect]}\n", 1) + "limits: {toolTimeout: " + toolTimeout.String() + "}\n"
	}})
	client, key := g.Client(g.Cert("acme")), g.Key("acme")
	return g, log, func(t *testing.T, method, path, body string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, g.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
}

func TestCall(t *testing.T) {
	g, log, ask := start(t)
	const calls = "sangate_tool_calls_total"
	for _, tc := range []struct {
		name, tool, body string
		status           int
		want             string // the body, or its error code
		result           string // label of the metric; "": the tool is not reached
	}{
		{"arguments", "any", `{"arguments":{"a":1}}`, 200, `{"a":1}`, "ok"},
		{"arguments beside others", "any", `{"x":1,"arguments":{"a":1}}`, 200, `{"a":1}`, "ok"},
		{"without arguments", "any", `{"a":1}`, 200, `{"a":1}`, "ok"},
		{"empty object", "any", `{}`, 200, `{}`, "ok"},
		{"no body", "any", ``, 200, `{}`, "ok"},
		{"empty arguments", "any", `{"arguments":{}}`, 200, `{}`, "ok"},
		{"numbers stay as they are", "any", `{"n":12345678901234567890.10}`, 200, `{"n":12345678901234567890.10}`, "ok"},
		{"content", "text", `{}`, 200, `{"content":[{"text":"done","type":"text"}]}`, "ok"},
		{"arguments null", "any", `{"arguments":null}`, 400, "bad_request", ""},
		{"arguments in a list", "any", `{"arguments":[]}`, 400, "bad_request", ""},
		{"arguments in a string", "any", `{"arguments":"{}"}`, 400, "bad_request", ""},
		{"null", "any", `null`, 400, "bad_request", ""},
		{"list", "any", `[]`, 400, "bad_request", ""},
		{"text", "any", `hello`, 400, "bad_request", ""},
		{"cut off", "any", `{"a":`, 400, "bad_request", ""},
		{"blank", "any", ` `, 400, "bad_request", ""},
		{"not fitting", "order", `{"count":"x"}`, 400, "invalid_arguments", "invalid_arguments"},
		{"refuses", "refuse", `{}`, 422, "tool_error", "tool_error"},
		{"refuses in its content", "refuse_content", `{}`, 422, "tool_error", "tool_error"},
		{"panics", "panic", `{}`, 500, "internal", "internal"},
		{"breaks", "break", `{}`, 500, "internal", "internal"},
		{"returns nothing", "nothing", `{}`, 500, "internal", "internal"},
		{"takes too long", "slow", `{}`, 504, "timeout", "timeout"},
		{"denied", "certificate_inspect", `{}`, 404, "not_found", ""},
		{"unknown", "certificate_inspectt", `{}`, 404, "not_found", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := ask(t, http.MethodPost, "/tool/"+tc.tool+"/call", tc.body)
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tc.status || res.Header.Get("Content-Type") != "application/json" || res.Header.Get("X-Request-Id") == "" {
				t.Fatalf("%s %v %s, want %d", res.Status, res.Header, body, tc.status)
			}
			if tc.status == 200 && string(body) != tc.want || tc.status != 200 && !bytes.HasPrefix(body, []byte(`{"error":"`+tc.want+`","message":"`)) {
				t.Errorf("body %s, want %s", body, tc.want)
			}
			body = bytes.ReplaceAll(body, []byte(res.Header.Get("X-Request-Id")), nil) // which may have any letters
			if bytes.Contains(body, []byte("hush")) || bytes.Contains(body, []byte(".go")) || bytes.Contains(body, []byte("EOF")) {
				t.Errorf("the inside shows: %s", body)
			}
			if tc.result != "" && g.Metric(calls, "tool", tc.tool, "tenant", "acme", "result", tc.result) < 1 {
				t.Errorf("not counted as %s", tc.result)
			}
			id := []byte(res.Header.Get("X-Request-Id"))
			if tc.status == 500 && !slices.ContainsFunc(log.lines(), func(l []byte) bool {
				return bytes.Contains(l, id) && bytes.Contains(l, []byte(`"level":"ERROR"`))
			}) {
				t.Error("the request id leads to nothing in the log")
			}
		})
	}
}

func TestInvalidArguments(t *testing.T) {
	_, _, ask := start(t)
	res := ask(t, http.MethodPost, "/tool/order/call", `{"item":[],"count":1.5,"colour":"red","note":null}`)
	var body struct {
		Error     string
		Message   string
		RequestID string
		Details   []tool.Problem
	}
	d := json.NewDecoder(res.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil || res.StatusCode != 400 || body.Error != "invalid_arguments" || body.RequestID != res.Header.Get("X-Request-Id") {
		t.Fatalf("%s %+v, %v", res.Status, body, err)
	}
	var pointers []string
	for _, p := range body.Details {
		pointers = append(pointers, p.Pointer)
		if p.Message == "" {
			t.Errorf("nothing said of %s", p.Pointer)
		}
	}
	slices.Sort(pointers)
	if want := []string{"", "/count", "/item", "/note"}; !slices.Equal(pointers, want) {
		t.Errorf("details at %q, want %q: %+v", pointers, want, body.Details)
	}
}

func TestRefusalsAreWordForWord(t *testing.T) {
	_, _, ask := start(t)
	for name, want := range map[string]string{"refuse": "out of tea", "refuse_content": "out of milk"} {
		var body struct{ Message string }
		if err := json.NewDecoder(ask(t, http.MethodPost, "/tool/"+name+"/call", "").Body).Decode(&body); err != nil || body.Message != want {
			t.Errorf("%s: message %q, %v; want %q", name, body.Message, err, want)
		}
	}
}

func TestList(t *testing.T) {
	_, _, ask := start(t)
	res := ask(t, http.MethodGet, "/tools", "")
	var list []map[string]json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil || len(list) != len(tools(t))+3 {
		t.Fatalf("%d tools, %v; want a JSON array of all but the denied one", len(list), err)
	}
	if cc := res.Header.Get("Cache-Control"); !strings.Contains(cc, "private") {
		t.Errorf("Cache-Control %q: a shared cache could give it to another tenant", cc)
	}
	for _, entry := range list {
		_, output := entry["outputSchema"]
		if want := 3; len(entry) != want && !(output && len(entry) == want+1) {
			t.Errorf("entry %s", entry)
		}
		if string(entry["name"]) == `"certificate_inspect"` {
			t.Error("a denied tool is listed")
		}
	}
}

// A client that goes away ends its call.
func TestClientGoesAway(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	wait := &tool.Tool{Name: "wait", Builtin: true, InputSchema: json.RawMessage(`{"type":"object"}`),
		Handler: func(ctx context.Context, _ *tool.Call) (*tool.Result, error) {
			close(began)
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		}}
	if err := wait.Compile(); err != nil {
		t.Fatal(err)
	}
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{wait}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+"/tool/wait/call", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.Key("acme"))
	if res, err := g.Client(g.Cert("acme")).Do(req); err == nil {
		_ = res.Body.Close()
		t.Fatal("the call was answered")
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the tool runs on without a client")
	}
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_streams_open") == 0 }, 5*time.Second) {
		t.Error("the request is still counted as open")
	}
}

// A syncBuffer takes the log while the test reads it.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) lines() [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Split(bytes.Clone(b.buf.Bytes()), []byte("\n"))
}
