package conformance

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/sangate/sangate/server/tool"
)

func contents(uri, mime, kind, what string) *tool.Result {
	return &tool.Result{Structured: encoded(map[string]any{"contents": []any{map[string]any{"uri": uri, "mimeType": mime, kind: what}}})}
}

func resource(name, at, mime string, read func(uri string) *tool.Result) *tool.Resource {
	return &tool.Resource{Name: name, URI: at, Described: encoded(map[string]any{"name": name, "uri": at, "mimeType": mime, "description": "For the suite."}),
		Read: func(_ context.Context, uri string, _ *tool.Call) (*tool.Result, error) { return read(uri), nil }}
}

// resources are those that the suite reads.
func resources() []*tool.Resource {
	text := func(uri string) *tool.Result { return contents(uri, "text/plain", "text", "What is written there.") }
	seen := resource("watched-resource", "test://watched-resource", "text/plain", text)
	seen.Watched = true
	const template = "test://template/{id}/data"
	each := resource("template", template, "application/json", func(uri string) *tool.Result {
		at, err := url.Parse(uri)
		if err != nil {
			return nil
		}
		id := strings.Split(at.Path, "/")[1]
		return contents(uri, "application/json", "text", string(encoded(map[string]any{"id": id, "templateTest": true, "data": "Data of " + id})))
	})
	each.Template = true
	each.Described = encoded(map[string]any{"name": "template", "uriTemplate": template, "mimeType": "application/json"})
	return []*tool.Resource{seen, each,
		resource("static-text", "test://static-text", "text/plain", text),
		resource("static-binary", "test://static-binary", "image/png", func(uri string) *tool.Result { return contents(uri, "image/png", "blob", png) })}
}

func userText(text string) map[string]any {
	return map[string]any{"role": "user", "content": map[string]any{"type": "text", "text": text}}
}

func messages(list ...map[string]any) *tool.Result {
	return &tool.Result{Structured: encoded(map[string]any{"messages": list})}
}

func says(list ...map[string]any) func(context.Context, *tool.Call) (*tool.Result, error) {
	return func(context.Context, *tool.Call) (*tool.Result, error) { return messages(list...), nil }
}

func prompt(name string, args []string, get func(context.Context, *tool.Call) (*tool.Result, error)) *tool.Prompt {
	described := map[string]any{"name": name, "description": "For the suite."}
	var list []any
	for _, a := range args {
		list = append(list, map[string]any{"name": a, "required": true})
	}
	if list != nil {
		described["arguments"] = list
	}
	return &tool.Prompt{Name: name, Described: encoded(described), Get: get}
}

// prompts are those that the suite gets.
func prompts() []*tool.Prompt {
	given := func(call *tool.Call) (args map[string]string) {
		if json.Unmarshal(call.Arguments, &args) != nil {
			return nil
		}
		return args
	}
	with := prompt("test_prompt_with_arguments", []string{"arg1", "arg2"}, func(_ context.Context, call *tool.Call) (*tool.Result, error) {
		args := given(call)
		return messages(userText("With " + args["arg1"] + " and " + args["arg2"] + ".")), nil
	})
	with.Complete = func(_ context.Context, _ *tool.Call, _, value string) ([]string, error) {
		return []string{value + "!"}, nil
	}
	return []*tool.Prompt{with,
		prompt("test_simple_prompt", nil, says(userText("A simple prompt."))),
		prompt("test_prompt_with_image", nil, says(map[string]any{"role": "user", "content": block("image", map[string]any{"data": png, "mimeType": "image/png"})}, userText("What is on it?"))),
		prompt("test_prompt_with_embedded_resource", []string{"resourceUri"}, func(_ context.Context, call *tool.Call) (*tool.Result, error) {
			return messages(map[string]any{"role": "user", "content": embedded(given(call)["resourceUri"])}, userText("What does it say?")), nil
		}),
		prompt("test_input_required_result_prompt", nil, func(_ context.Context, call *tool.Call) (*tool.Result, error) {
			if about, ok := accepted(call, "user_context", "context").(string); ok {
				return messages(userText("It is about " + about + ".")), nil
			}
			return ask("", map[string]tool.Ask{"user_context": form("What is it about?", "context", "string")})
		})}
}
