package tool_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/tool"
)

// FuzzResult checks that what a tool of an upstream answers is passed on only as it can
// stand inside of our own answer: a JSON value, and content that is a list.
//
// Holds: upstream/result-injection
func FuzzResult(f *testing.F) {
	for _, s := range [][2]string{{`{"a":1}`, `[{"type":"text","text":"x"}]`}, {`1},"error":{}`, `[]`}, {`{"a":1,"a":2}`, ``}, {``, `{}`}, {``, `[],"isError":false`}, {"\xff", ""}, {` {} `, ` [ ] `},
		{``, `[` + strings.Repeat("[", 20_000)}, {"null", ""}, {"\ufeff1", ""}, {``, `[{"type":"text","text":1}]`}, {"{} {}", ""}} {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, structured, content []byte) {
		answer := &tool.Result{}
		if len(structured) > 0 {
			answer.Structured = structured
		}
		if len(content) > 0 {
			answer.Content = content
		}
		made := &tool.Tool{Name: "t", Upstream: "u", InputSchema: json.RawMessage(`{"type":"object"}`), Handler: func(context.Context, *tool.Call) (*tool.Result, error) { return answer, nil }}
		if err := made.Compile(); err != nil {
			t.Fatal(err)
		}
		res, err := made.Call(t.Context(), &tool.Call{})
		if err != nil {
			return
		}
		var out jsontext.Value = []byte("{")
		if res.Structured != nil {
			out = append(append(out, `"structuredContent":`...), res.Structured...)
		}
		if res.Content != nil {
			if res.Structured != nil {
				out = append(out, ',')
			}
			out = append(append(out, `"content":`...), res.Content...)
		}
		out = append(out, '}')
		var whole map[string]json.RawMessage
		if !out.IsValid() || json.Unmarshal(out, &whole) != nil || len(whole) > 2 {
			t.Fatalf("passes on %q", out)
		}
		if res.Content != nil && jsontext.Value(whole["content"]).Kind() != '[' {
			t.Errorf("passes on the content %q", whole["content"])
		}
		_ = res.Text() // of any content
	})
}
