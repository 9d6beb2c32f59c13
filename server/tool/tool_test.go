package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/tenant"
	"github.com/sangate/sangate/server/tool"
)

func handler(context.Context, *tool.Call) (*tool.Result, error) { return tool.Text("done"), nil }

func TestCompile(t *testing.T) {
	const object = `{"type":"object"}`
	for _, tc := range []struct{ name, tool, input, output, want string }{
		{"good", "a.b-c_9", object, object, ""},
		{"longest name", strings.Repeat("a", 128), object, "", ""},
		{"name too long", strings.Repeat("a", 129), object, "", "tool name"},
		{"no name", "", object, "", "tool name"},
		{"name with a slash", "a/b", object, "", "tool name"},
		{"name with a newline", "a\n", object, "", "tool name"},
		{"name that is a path", "..", object, "", "tool name"},
		{"no schema", "t", "", "", "input schema: not a JSON object"},
		{"schema of another type", "t", `{"type":"array"}`, "", `its "type" must be "object"`},
		{"schema without type", "t", `{}`, "", `its "type" must be "object"`},
		{"schema that is none", "t", `{"type":"object","properties":7}`, "", "input schema: "},
		{"schema with a name twice", "t", `{"type":"array","type":"object"}`, "", "not a JSON object"},
		{"reference to the network", "t", `{"type":"object","$ref":"http://169.254.169.254/x"}`, "", "only references within"},
		{"reference to a file", "t", `{"type":"object","$ref":"file:///etc/passwd"}`, "", "only references within"},
		{"own reference", "t", `{"type":"object","$defs":{"a":{"type":"string"}},"properties":{"x":{"$ref":"#/$defs/a"}}}`, "", ""},
		{"output of another type", "t", object, `{"type":"string"}`, "output schema"},
		{"x-mcp-header without a name", "t", `{"type":"object","properties":{"a":{"type":"string","x-mcp-header":""}}}`, "", "input schema: invalid parameter header annotations"},
		{"x-mcp-header twice", "t", `{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}`, "", "x-mcp-header"},
		{"x-mcp-header on an object", "t", `{"type":"object","properties":{"a":{"type":"object","x-mcp-header":"A"}}}`, "", "x-mcp-header"},
		{"a good x-mcp-header", "t", `{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}}`, "", ""},
		{"input number that Go cannot hold", "t", `{"type":"object","properties":{"a":{"default":1e400}}}`, "", "input schema: can't marshal"},
		{"output number that Go cannot hold", "t", object, `{"type":"object","properties":{"a":{"default":1e400}}}`, "output schema: can't marshal"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tl := &tool.Tool{Name: tc.tool, InputSchema: json.RawMessage(tc.input), Handler: handler}
			if tc.output != "" {
				tl.OutputSchema = json.RawMessage(tc.output)
			}
			err := tl.Compile()
			if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Compile = %v, want %q", err, tc.want)
			}
		})
	}
	if err := (&tool.Tool{Name: "t", InputSchema: json.RawMessage(object)}).Compile(); err == nil {
		t.Error("a tool without handler was compiled")
	}
}

// What a tool asks a user for has a schema within the limits of those of tools.
func TestElicitationSchemas(t *testing.T) {
	var defs []string
	for i := range 40 {
		defs = append(defs, fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%[2]d"}]}`, i, i+1))
	}
	for name, tc := range map[string]struct{ params, want string }{
		"good":          {`{"message":"m","requestedSchema":{"type":"object","properties":{"a":{"type":"string"}}}}`, ""},
		"none":          {`{"message":"m","mode":"url","url":"https://a.example","elicitationId":"1"}`, ""},
		"another type":  {`{"message":"m","requestedSchema":{"type":"string"}}`, `must be "object"`},
		"no schema":     {`{"message":"m","requestedSchema":7}`, "requestedSchema: "},
		"no parameters": {`[]`, "parameters of an elicitation"},
		"many paths":    {`{"message":"m","requestedSchema":{"type":"object","$ref":"#/$defs/d0","$defs":{` + strings.Join(defs, ",") + `,"d40":{}}}}`, "paths"},
		"long number":   {`{"message":"m","requestedSchema":{"type":"object","properties":{"a":{"minimum":1e999999}}}}`, "number"},
	} {
		asks := &tool.Tool{Name: "t", InputSchema: json.RawMessage(`{"type":"object"}`), Asks: true, Handler: func(context.Context, *tool.Call) (*tool.Result, error) {
			return &tool.Result{Asks: map[string]tool.Ask{"a": {Method: tool.Elicit, Params: json.RawMessage(tc.params)}}}, nil
		}}
		if err := asks.Compile(); err != nil {
			t.Fatal(err)
		}
		_, err := asks.Call(t.Context(), &tool.Call{Capabilities: []string{tool.Elicitation}})
		if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// Resources and prompts that the MCP SDK would panic on are refused when they are
// registered.
func TestOfferCompile(t *testing.T) {
	read := func(context.Context, string, *tool.Call) (*tool.Result, error) { return nil, nil }
	for name, tc := range map[string]struct {
		offer tool.Offer
		want  string
	}{
		"resource":      {tool.Offer{Resources: []*tool.Resource{{Name: "a", URI: "a://b", Described: json.RawMessage(`{"name":"a","uri":"a://b"}`), Read: read}}}, ""},
		"resource, URI": {tool.Offer{Resources: []*tool.Resource{{Name: "a", URI: "a://b", Described: json.RawMessage(`{"name":"a","uri":"a://%zz"}`), Read: read}}}, `resource "a": parse`},
		"resource, type": {tool.Offer{Resources: []*tool.Resource{{Name: "a", URI: "a://b", Described: json.RawMessage(`{"name":7}`), Read: read}}},
			`resource "a": json`},
		"template": {tool.Offer{Resources: []*tool.Resource{{Name: "a", URI: "a://{b", Template: true, Described: json.RawMessage(`{"name":"a","uriTemplate":"a://{b"}`), Read: read}}},
			`URI template "a://{b" is invalid`},
		"prompt": {tool.Offer{Prompts: []*tool.Prompt{{Name: "a", Described: json.RawMessage(`{"arguments":7}`),
			Get: func(context.Context, *tool.Call) (*tool.Result, error) { return nil, nil }}}}, `prompt "a": json`},
	} {
		if err := tc.offer.Compile(); (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: Compile = %v, want %q", name, err, tc.want)
		}
	}
}

type size struct {
	Width  int            `json:"width"`
	Labels map[string]int `json:"labels,omitempty"`
}

func TestArguments(t *testing.T) {
	called := false
	tl, err := tool.New("area", "", func(_ context.Context, in size) (size, error) {
		called = true
		return in, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, arguments string
		pointers        []string // of the problems; nil: valid
	}{
		{"valid", `{"width":3}`, nil},
		{"other type", `{"width":"3"}`, []string{"/width"}},
		{"fraction", `{"width":1.5}`, []string{"/width"}},
		{"whole, written as a fraction", `{"width":3.0}`, []string{"/width"}},
		{"over 64 bits", `{"width":99999999999999999999}`, []string{"/width"}},
		{"missing", `{}`, []string{""}},
		{"nothing", ``, []string{""}},
		{"unknown", `{"width":3,"Width":4}`, []string{""}},
		{"several at once", `{"width":true,"labels":{"a/b":"x","c~d":[]}}`, []string{"/labels/a~1b", "/labels/c~0d", "/width"}},
		{"a name twice", `{"width":3,"width":4}`, []string{""}},
		{"invalid UTF-8", "{\"width\":3,\"labels\":{\"\xff\":1}}", []string{""}},
		{"two values", `{"width":3}{}`, []string{""}},
		{"not an object", `[3]`, []string{""}},
		{"null", `null`, []string{""}},
		{"deep", `{"width":` + strings.Repeat("[", 100_000), []string{""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			called = false
			_, err := tl.Call(t.Context(), &tool.Call{Arguments: json.RawMessage(tc.arguments)})
			var pointers []string
			if invalid, ok := errors.AsType[*tool.InvalidArguments](err); ok {
				for _, p := range invalid.Problems {
					pointers = append(pointers, p.Pointer)
					if p.Message == "" {
						t.Error("a problem without a message")
					}
				}
				slices.Sort(pointers)
			} else if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(pointers, tc.pointers) || called != (tc.pointers == nil) {
				t.Errorf("problems at %q, handler called: %t; want %q (%v)", pointers, called, tc.pointers, err)
			}
		})
	}
}

func TestProblemsAreBounded(t *testing.T) {
	tl, err := tool.New("t", "", func(context.Context, size) (size, error) { return size{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for i := range 1000 {
		labels = append(labels, fmt.Sprintf(`"l%d":"x"`, i))
	}
	_, err = tl.Call(t.Context(), &tool.Call{Arguments: json.RawMessage(`{"width":1,"labels":{` + strings.Join(labels, ",") + `}}`)})
	invalid, ok := errors.AsType[*tool.InvalidArguments](err)
	if !ok || len(invalid.Problems) != 20 {
		t.Errorf("Call = %v, want 20 problems", err)
	}
}

func TestHandlers(t *testing.T) {
	refusal := tool.Errorf("no %s today", "tea")
	for _, tc := range []struct {
		name    string
		handler tool.Handler
		check   func(*tool.Result, error) bool
	}{
		{"panics", func(context.Context, *tool.Call) (*tool.Result, error) { panic("secret") },
			func(r *tool.Result, err error) bool { return r == nil && errors.Is(err, tool.ErrPanicked) }},
		{"panics with nil", func(context.Context, *tool.Call) (*tool.Result, error) { panic(nil) },
			func(r *tool.Result, err error) bool { return r == nil && errors.Is(err, tool.ErrPanicked) }},
		{"refuses", func(context.Context, *tool.Call) (*tool.Result, error) { return nil, refusal },
			func(_ *tool.Result, err error) bool { return err == refusal && err.Error() == "no tea today" }},
		{"returns nothing", func(context.Context, *tool.Call) (*tool.Result, error) { return nil, nil },
			func(r *tool.Result, err error) bool { return r == nil && err != nil }},
		{"returns an empty result", func(context.Context, *tool.Call) (*tool.Result, error) { return &tool.Result{}, nil },
			func(r *tool.Result, err error) bool { return r == nil && err != nil }},
		{"gets an object where none was sent", func(_ context.Context, c *tool.Call) (*tool.Result, error) {
			return &tool.Result{Structured: c.Arguments}, nil
		}, func(r *tool.Result, err error) bool { return err == nil && string(r.Structured) == "{}" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tl := &tool.Tool{Name: "t", InputSchema: json.RawMessage(`{"type":"object"}`), Handler: tc.handler}
			if err := tl.Compile(); err != nil {
				t.Fatal(err)
			}
			if res, err := tl.Call(t.Context(), &tool.Call{}); !tc.check(res, err) {
				t.Errorf("Call = %v, %v", res, err)
			}
		})
	}
}

func TestResultText(t *testing.T) {
	for content, want := range map[string]string{
		`[{"type":"text","text":"a"},{"type":"image","data":"x"},{"type":"text","text":"b"}]`: "a\nb",
		`[]`:   "The tool failed.",
		`null`: "The tool failed.",
		`7`:    "The tool failed.",
	} {
		if got := (&tool.Result{Content: json.RawMessage(content)}).Text(); got != want {
			t.Errorf("Text of %s = %q, want %q", content, got, want)
		}
	}
}

func TestViews(t *testing.T) {
	make := func(name string, builtin bool) *tool.Tool {
		return &tool.Tool{Name: name, Description: name + "!", InputSchema: json.RawMessage(`{"type":"object"}`), Builtin: builtin, Handler: handler}
	}
	catalog, err := tool.NewCatalog([]*tool.Tool{make("zoo_open", false), make("echo", true), make("zoo_delete", false)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		tools *tenant.Tools
		want  string
	}{
		{"no policy: built-ins", nil, "echo"},
		{"allowed", &tenant.Tools{Allow: []string{"zoo_*"}}, "zoo_delete zoo_open"},
		{"deny wins", &tenant.Tools{Allow: []string{"*"}, Deny: []string{"*_delete"}}, "echo zoo_open"},
		{"denied built-in", &tenant.Tools{Deny: []string{"echo"}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tn := &tenant.Tenant{ID: "acme", Tools: tc.tools}
			v := catalog.View(tn)
			var list []struct{ Name string }
			if err := json.Unmarshal(v.JSON(), &list); err != nil || list == nil {
				t.Fatalf("JSON = %s: %v; want an array", v.JSON(), err)
			}
			var names []string
			for _, l := range list {
				names = append(names, l.Name)
			}
			if got := strings.Join(names, " "); got != tc.want {
				t.Errorf("listed %q, want %q", got, tc.want)
			}
			for _, tl := range catalog.Tools() {
				if listed, callable := slices.Contains(names, tl.Name), v.Lookup(tl.Name) != nil; listed != callable {
					t.Errorf("%s: listed %t, callable %t", tl.Name, listed, callable)
				}
			}
			if next, _, twice := catalog.Join(nil, nil, nil); catalog.View(tn) != v || next.View(tn) == v || twice != nil {
				t.Error("a view is made once for a catalog, and anew for the next")
			}
		})
	}
	if _, err := tool.NewCatalog([]*tool.Tool{make("echo", true), make("echo", false)}); err == nil {
		t.Error("two tools of one name were taken")
	}
}
