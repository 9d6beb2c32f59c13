package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// The smallest picture and the smallest sound there are, in base64: one red dot,
// and a moment of silence.
const (
	png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
	wav = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
)

const anyObject = `{"type":"object"}`

// schema2020 has what a schema of that draft can have, for clients to find again.
const schema2020 = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
	"$defs":{"address":{"$anchor":"addressDef","type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"}}}},
	"properties":{"name":{"type":"string"},"address":{"$ref":"#/$defs/address"},
		"contactMethod":{"type":"string","enum":["phone","email"]},"phone":{"type":"string"},"email":{"type":"string"}},
	"allOf":[{"anyOf":[{"required":["phone"]},{"required":["email"]}]}],
	"if":{"properties":{"contactMethod":{"const":"phone"}},"required":["contactMethod"]},
	"then":{"required":["phone"]},"else":{"required":["email"]},"additionalProperties":false}`

func block(kind string, more map[string]any) map[string]any {
	more["type"] = kind
	return more
}

func embedded(uri string) map[string]any {
	return block("resource", map[string]any{"resource": map[string]any{"uri": uri, "mimeType": "text/plain", "text": "What is embedded."}})
}

func content(blocks ...map[string]any) *tool.Result {
	return &tool.Result{Content: encoded(blocks)}
}

func encoded(v any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

// always answers the same.
func always(res *tool.Result) tool.Handler {
	return func(context.Context, *tool.Call) (*tool.Result, error) { return res, nil }
}

// tools are those that the suite calls, by the names it has for them.
func tools(g *servertest.Gate) []*tool.Tool {
	image := block("image", map[string]any{"data": png, "mimeType": "image/png"})
	handlers := map[string]tool.Handler{
		"test_simple_text":            always(tool.Text("A simple text.")),
		"test_image_content":          always(content(image)),
		"test_audio_content":          always(content(block("audio", map[string]any{"data": wav, "mimeType": "audio/wav"}))),
		"test_embedded_resource":      always(content(embedded("test://embedded"))),
		"test_multiple_content_types": always(content(block("text", map[string]any{"text": "Several kinds."}), image, embedded("test://among-others"))),
		"test_error_handling": func(context.Context, *tool.Call) (*tool.Result, error) {
			return nil, tool.Errorf("It fails, as it is meant to.")
		},
		"test_tool_with_logging":     logs("begun", "at it", "done"),
		"test_logging_tool":          logs("begun"),
		"test_tool_with_progress":    progress,
		"test_streaming_elicitation": progress,
		"test_x_mcp_header":          always(tool.Text("The header fits.")),
		"json_schema_2020_12_tool": func(_ context.Context, call *tool.Call) (*tool.Result, error) {
			return tool.Text(string(call.Arguments)), nil
		},
		"test_missing_capability": needsSampling,
		"test_trigger_tool_change": offers(g, func(n int) tool.Offer {
			return tool.Offer{Tools: []*tool.Tool{{Name: fmt.Sprint("came_later_", n), Description: "For the suite.", InputSchema: json.RawMessage(anyObject), Handler: always(tool.Text(""))}}}
		}),
		"test_trigger_prompt_change": offers(g, func(n int) tool.Offer {
			return tool.Offer{Prompts: []*tool.Prompt{prompt(fmt.Sprint("came_later_", n), nil, says(userText("")))}}
		}),
	}
	schemas := map[string]string{"json_schema_2020_12_tool": schema2020,
		"test_x_mcp_header": `{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"level":{"type":"integer"}}}`}
	var out []*tool.Tool
	for name, handler := range handlers {
		t := &tool.Tool{Name: name, Description: "For the suite.", InputSchema: json.RawMessage(anyObject), Handler: handler}
		t.Logs = name == "test_tool_with_logging" || name == "test_logging_tool"
		t.Asks = name == "test_missing_capability"
		if s, ok := schemas[name]; ok {
			t.InputSchema = json.RawMessage(s)
		}
		out = append(out, t)
	}
	for name, handler := range asking {
		out = append(out, &tool.Tool{Name: name, Description: "For the suite; it asks.", InputSchema: json.RawMessage(anyObject), Asks: true, Handler: handler})
	}
	return out
}

func logs(lines ...string) tool.Handler {
	return func(ctx context.Context, _ *tool.Call) (*tool.Result, error) {
		for _, line := range lines {
			tool.Log(ctx, "info", line)
		}
		return tool.Text("Logged, where that was asked for."), nil
	}
}

func progress(ctx context.Context, _ *tool.Call) (*tool.Result, error) {
	for _, done := range []float64{0, 50, 100} {
		tool.Progress(ctx, done, 100, "on its way")
	}
	return tool.Text("Done."), nil
}

func needsSampling(_ context.Context, call *tool.Call) (*tool.Result, error) {
	if !call.Has(tool.Sampling) {
		return nil, &tool.NeedsCapability{Name: tool.Sampling}
	}
	return tool.Text("The client can do it."), nil
}

// offers has the gate offer more with each call.
func offers(g *servertest.Gate, more func(n int) tool.Offer) tool.Handler {
	n := 0
	return func(context.Context, *tool.Call) (*tool.Result, error) { // which the suite calls one by one
		n++
		return tool.Text("More is there."), g.Server.Offer(more(n))
	}
}

// begin runs a gate that has all that the suite wants.
func begin(t *testing.T) *servertest.Gate {
	t.Helper()
	g := servertest.Start(t, servertest.Options{Config: everything})
	err := g.Server.Offer(tool.Offer{Tools: tools(g), Prompts: prompts(), Resources: resources()})
	if err != nil {
		t.Fatal(err)
	}
	return g
}
