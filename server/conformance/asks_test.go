package conformance

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sangate/sangate/server/tool"
)

// form asks the user for one thing.
func form(message, field, kind string) tool.Ask {
	return tool.Ask{Method: tool.Elicit, Params: encoded(map[string]any{"mode": "form", "message": message, "requestedSchema": map[string]any{"type": "object",
		"properties": map[string]any{field: map[string]any{"type": kind}}, "required": []string{field}}})}
}

// model asks the client's model.
func model(text string) tool.Ask {
	return tool.Ask{Method: tool.CreateMessage, Params: encoded(map[string]any{"maxTokens": 100,
		"messages": []any{map[string]any{"role": "user", "content": map[string]any{"type": "text", "text": text}}}})}
}

var clientRoots = tool.Ask{Method: tool.ListRoots, Params: json.RawMessage("{}")}

// accepted returns what the user has put into a form, nil where there is no such
// answer, or not that.
func accepted(call *tool.Call, name, field string) any {
	var answer struct {
		Action  string         `json:"action"`
		Content map[string]any `json:"content"`
	}
	if json.Unmarshal(call.Answers[name], &answer) != nil || answer.Action != "accept" {
		return nil
	}
	return answer.Content[field]
}

func ask(state string, asks map[string]tool.Ask) (*tool.Result, error) {
	return &tool.Result{Asks: asks, State: state}, nil
}

// unless has a tool ask until it has an answer to everything.
func unless(state string, asks map[string]tool.Ask) tool.Handler {
	return func(_ context.Context, call *tool.Call) (*tool.Result, error) {
		for name := range asks {
			if call.Answers[name] == nil {
				return ask(state, asks)
			}
		}
		if state != "" && call.State != state {
			return nil, tool.Errorf("The state is another.")
		}
		return tool.Text("state-ok: all of it is answered."), nil
	}
}

// asking are the tools of the suite that need something of the client, and say so.
var asking = map[string]tool.Handler{
	"test_input_required_result_sampling":        unless("", map[string]tool.Ask{"capital": model("What is the capital of France?")}),
	"test_input_required_result_list_roots":      unless("", map[string]tool.Ask{"roots": clientRoots}),
	"test_input_required_result_request_state":   unless("waits", map[string]tool.Ask{"confirm": form("Shall it be?", "ok", "boolean")}),
	"test_input_required_result_tampered_state":  unless("waits", map[string]tool.Ask{"confirm": form("Shall it be?", "ok", "boolean")}),
	"test_input_required_result_multiple_inputs": unless("waits", map[string]tool.Ask{"name": form("Who are you?", "name", "string"), "greeting": model("Greet."), "roots": clientRoots}),
	"test_input_required_result_elicitation": func(_ context.Context, call *tool.Call) (*tool.Result, error) {
		if name, ok := accepted(call, "user_name", "name").(string); ok && name != "" {
			return tool.Text("Good day, " + name + "."), nil
		}
		return ask("", map[string]tool.Ask{"user_name": form("Who are you?", "name", "string")})
	},
	"test_input_required_result_multi_round": func(_ context.Context, call *tool.Call) (*tool.Result, error) {
		name, named := accepted(call, "step1", "name").(string)
		switch colour, ok := accepted(call, "step2", "color").(string); {
		case ok && call.State != "":
			return tool.Text(fmt.Sprintf("%s likes %s.", call.State, colour)), nil
		case named:
			return ask(name, map[string]tool.Ask{"step2": form("Which colour?", "color", "string")})
		}
		return ask("nobody yet", map[string]tool.Ask{"step1": form("Who are you?", "name", "string")})
	},
	"test_input_required_result_capabilities": func(_ context.Context, call *tool.Call) (*tool.Result, error) {
		asks := map[string]tool.Ask{}
		for capability, one := range map[string]tool.Ask{tool.Elicitation: form("Who are you?", "name", "string"), tool.Sampling: model("Greet."), tool.Roots: clientRoots} {
			if call.Has(capability) {
				asks[capability] = one
			}
		}
		if len(asks) == 0 || len(call.Answers) > 0 {
			return tool.Text("Nothing more is asked."), nil
		}
		return ask("", asks)
	},
	"test_sampling":                     unless("", map[string]tool.Ask{"model": model("Say something.")}),
	"test_elicitation":                  unless("", map[string]tool.Ask{"user": form("Who are you?", "username", "string")}),
	"test_elicitation_sep1034_defaults": unless("", map[string]tool.Ask{"user": form("Who are you?", "username", "string")}),
	"test_elicitation_sep1330_enums":    unless("", map[string]tool.Ask{"user": form("Who are you?", "username", "string")}),
}
