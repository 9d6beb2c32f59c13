package mcp

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tool"
)

// watched are the URIs of resources that tell when they change.
type watched map[string]bool

func watchedOf(view *tool.View) watched {
	var out watched
	for _, r := range view.Resources {
		if r.Watched && !r.Template {
			if out == nil {
				out = make(watched)
			}
			out[r.URI] = true
		}
	}
	return out
}

// check says of a URI what the SDK says of those of no resource.
func (w watched) check(uri string) error {
	if w[uri] {
		return nil
	}
	return sdk.ResourceNotFoundError(uri)
}

// maxProposed is how many completions the protocol has at once.
const maxProposed = 100

// completes reports whether anything in the view proposes values.
func completes(view *tool.View) bool {
	return slices.ContainsFunc(view.Prompts, func(p *tool.Prompt) bool { return p.Complete != nil }) ||
		slices.ContainsFunc(view.Resources, func(r *tool.Resource) bool { return r.Complete != nil })
}

// complete makes the SDK's handler of completion/complete.
func (h *Handler) complete(view *tool.View) func(context.Context, *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
	return func(ctx context.Context, req *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
		upstream, name, propose, err := completerOf(view, req.Params.Ref)
		out := &sdk.CompleteResult{Completion: sdk.CompletionResultDetails{Values: []string{}}}
		if err != nil || propose == nil {
			return out, err
		}
		call := &tool.Call{Caller: auth.DecisionFrom(ctx).Caller(), Arguments: json.RawMessage("{}")}
		known := make(map[string]string)
		if req.Params.Context != nil && req.Params.Context.Arguments != nil {
			known = maps.Clone(req.Params.Context.Arguments)
			if call.Arguments, err = json.Marshal(known); err != nil {
				return nil, err
			}
		}
		known[req.Params.Argument.Name] = req.Params.Argument.Value
		args, err := json.Marshal(known)
		if err != nil {
			return nil, err
		}
		var values []string
		unknown := invalidParams("There is no such prompt or resource.")
		if _, err := h.other(ctx, Use{Completion, name, upstream, args, unknown}, &values, func(ctx context.Context) (*tool.Result, error) {
			return propose.Call(ctx, name, call, req.Params.Argument.Name, req.Params.Argument.Value)
		}); err != nil {
			return nil, err
		}
		out.Completion.Total, out.Completion.HasMore = len(values), len(values) > maxProposed
		out.Completion.Values = append(out.Completion.Values, values[:min(len(values), maxProposed)]...)
		return out, nil
	}
}

// completerOf returns what proposes values for what is referred to, nil where
// nothing does.
func completerOf(view *tool.View, ref *sdk.CompleteReference) (upstream, name string, propose tool.Completer, err error) {
	for _, p := range view.Prompts {
		if ref.Type == "ref/prompt" && p.Name == ref.Name {
			return p.Upstream, p.Name, p.Complete, nil
		}
	}
	for _, r := range view.Resources {
		if ref.Type == "ref/resource" && r.URI == ref.URI {
			return r.Upstream, r.Name, r.Complete, nil
		}
	}
	return "", "", nil, invalidParams("There is no such prompt or resource.")
}
