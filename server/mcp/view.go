package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/tool"
)

// unavailable marks, in _meta, a tool whose upstream cannot be reached.
const unavailable = "io.github.sangate/unavailable"

// newServer makes the SDK server of a view.
func (h *Handler) newServer(view *tool.View) *sdk.Server {
	capabilities := &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{}}
	if len(view.Resources) > 0 {
		capabilities.Resources = &sdk.ResourceCapabilities{}
	}
	if len(view.Prompts) > 0 {
		capabilities.Prompts = &sdk.PromptCapabilities{}
	}
	s := sdk.NewServer(&sdk.Implementation{Name: "sangate", Version: h.opts.Version}, &sdk.ServerOptions{
		Logger:       h.opts.Logger,
		Capabilities: capabilities,
		SetCacheable: func(_ context.Context, _ sdk.Request, c *sdk.Cacheable) { c.CacheScope = "private" },
	})
	for _, t := range view.Tools {
		s.AddTool(h.describe(t), h.call(t))
	}
	for _, r := range view.Resources {
		h.addResource(s, r)
	}
	for _, p := range view.Prompts {
		h.addPrompt(s, p)
	}
	return s
}

func (h *Handler) describe(t *tool.Tool) *sdk.Tool {
	out := &sdk.Tool{Name: t.Name, Title: t.Title, Description: t.Description, InputSchema: t.InputSchema}
	if t.OutputSchema != nil {
		out.OutputSchema = t.OutputSchema
	}
	switch {
	case t.Annotations != nil:
		if err := json.Unmarshal(t.Annotations, &out.Annotations); err != nil {
			h.opts.Logger.Warn("annotations of a tool left out", "tool", t.Name, "err", err)
		}
	case t.ReadOnly:
		out.Annotations = &sdk.ToolAnnotations{ReadOnlyHint: true}
	}
	if t.Unavailable {
		out.Meta = sdk.Meta{unavailable: true}
	}
	return out
}

// addResource adds a resource or template. The SDK panics on a URI that is none.
func (h *Handler) addResource(s *sdk.Server, r *tool.Resource) {
	defer h.leftOut("resource", r.Name)
	read := func(ctx context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return passed[sdk.ReadResourceResult](ctx, h, func(ctx context.Context) (*tool.Result, error) { return r.Read(ctx, req.Params.URI) })
	}
	if r.Template {
		var described sdk.ResourceTemplate
		if err := json.Unmarshal(r.Described, &described); err != nil {
			panic(err)
		}
		s.AddResourceTemplate(&described, read)
		return
	}
	var described sdk.Resource
	if err := json.Unmarshal(r.Described, &described); err != nil {
		panic(err)
	}
	s.AddResource(&described, read)
}

func (h *Handler) addPrompt(s *sdk.Server, p *tool.Prompt) {
	defer h.leftOut("prompt", p.Name)
	var described sdk.Prompt
	if err := json.Unmarshal(p.Described, &described); err != nil {
		panic(err)
	}
	described.Name = p.Name
	s.AddPrompt(&described, func(ctx context.Context, req *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		return passed[sdk.GetPromptResult](ctx, h, func(ctx context.Context) (*tool.Result, error) { return p.Get(ctx, req.Params.Arguments) })
	})
}

// leftOut takes up what the SDK says to a description that it does not take.
func (h *Handler) leftOut(kind, name string) {
	if p := recover(); p != nil {
		h.opts.Logger.Warn("offered by an upstream and left out", "kind", kind, "name", name, "problem", p)
	}
}

// passed runs an exchange with an upstream and reads its result as the SDK's.
func passed[T any](ctx context.Context, h *Handler, do func(context.Context) (*tool.Result, error)) (*T, error) {
	ctx, cancel := h.opts.Bound(ctx)
	defer cancel()
	res, err := do(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		message := answer.Internal.Message
		if upstream, ok := errors.AsType[*tool.UpstreamError](err); ok {
			message = upstream.Message()
		}
		h.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "what stands behind a resource or prompt failed", slog.String("requestId", answer.RequestID(ctx)), slog.Any("err", err))
		return nil, errors.New(message)
	}
	out := new(T)
	if err := json.Unmarshal(res.Structured, out); err != nil {
		return nil, err
	}
	return out, nil
}
