package mcp

//lint:file-ignore SA1019 sampling, roots and logging are spoken for as long as clients do

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/tool"
)

// unavailable marks, in _meta, a tool whose upstream cannot be reached.
const unavailable = "io.github.sangate/unavailable"

// Methods that read what is not a tool.
const (
	methodRead     = "resources/read"
	methodGet      = "prompts/get"
	methodComplete = "completion/complete"
)

// newServer makes the SDK server of a view.
func (h *Handler) newServer(view *tool.View) *sdk.Server {
	capabilities := &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{ListChanged: true}, Logging: &sdk.LoggingCapabilities{}}
	opts := serverOptions()
	opts.Capabilities = capabilities
	if len(view.Resources) > 0 {
		capabilities.Resources = &sdk.ResourceCapabilities{ListChanged: true}
	}
	if watched := watchedOf(view); len(watched) > 0 {
		capabilities.Resources.Subscribe = true
		opts.SubscribeHandler = func(_ context.Context, req *sdk.SubscribeRequest) error { return watched.check(req.Params.URI) }
		opts.UnsubscribeHandler = func(_ context.Context, req *sdk.UnsubscribeRequest) error { return watched.check(req.Params.URI) }
	}
	if len(view.Prompts) > 0 {
		capabilities.Prompts = &sdk.PromptCapabilities{ListChanged: true}
	}
	if completes(view) {
		capabilities.Completions = &sdk.CompletionCapabilities{}
		opts.CompletionHandler = h.complete(view)
	}
	s := sdk.NewServer(&sdk.Implementation{Name: "sangate", Version: h.opts.Version}, opts)
	s.AddReceivingMiddleware(h.contained, onlyDirect)
	for _, t := range view.Tools {
		h.addTool(s, t)
	}
	for _, r := range view.Resources {
		h.addResource(s, r)
	}
	for _, p := range view.Prompts {
		h.addPrompt(s, p)
	}
	return s
}

func serverOptions() *sdk.ServerOptions {
	return &sdk.ServerOptions{
		Logger:       unheard,
		SetCacheable: func(_ context.Context, _ sdk.Request, c *sdk.Cacheable) { c.CacheScope = "private" },
	}
}

// onlyDirect keeps the SDK from opening streams of its own: nothing would be told
// on them.
func onlyDirect(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
		if method == methodListen {
			return nil, invalidParams("Send subscriptions/listen with notifications alone, as revision 2026-07-28 has it, and Accept: application/json, text/event-stream.")
		}
		return next(ctx, method, req)
	}
}

// contained answers a request in which the SDK panics: it runs in a goroutine of the SDK, and would end the process.
func (h *Handler) contained(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (res sdk.Result, err error) {
		if panicked := contain.Do(h.opts.Repeated, "answer a request by the MCP SDK", func() error {
			res, err = next(ctx, method, req)
			return nil
		}); panicked != nil {
			return nil, errors.New(answer.Internal.Message)
		}
		return res, err
	}
}

// addTool adds a tool. The SDK panics on schemas with invalid x-mcp-header keywords.
func (h *Handler) addTool(s *sdk.Server, t *tool.Tool) {
	defer h.leftOut("tool", t.Name)
	s.AddTool(h.describe(t), h.call(t))
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

// addResource adds a resource or template to the lists. The SDK panics on a URI that is none.
func (h *Handler) addResource(s *sdk.Server, r *tool.Resource) {
	defer h.leftOut("resource", r.Name)
	if r.Template {
		var described sdk.ResourceTemplate
		if err := json.Unmarshal(r.Described, &described); err != nil {
			panic(err)
		}
		s.AddResourceTemplate(&described, nil) // nothing is read there: see newReads
		return
	}
	var described sdk.Resource
	if err := json.Unmarshal(r.Described, &described); err != nil {
		panic(err)
	}
	s.AddResource(&described, nil)
}

func (h *Handler) addPrompt(s *sdk.Server, p *tool.Prompt) {
	defer h.leftOut("prompt", p.Name)
	var described sdk.Prompt
	if err := json.Unmarshal(p.Described, &described); err != nil {
		panic(err)
	}
	described.Name = p.Name
	s.AddPrompt(&described, func(ctx context.Context, req *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		call, err := h.callOf(ctx, methodGet, p.Name, req.ClientCapabilities(), req.Params.InputResponses, req.Params.RequestState)
		if err == nil {
			call.Arguments, err = promptArguments(req.Params.Arguments)
		}
		if err != nil {
			return nil, err
		}
		out := new(sdk.GetPromptResult)
		unknown := invalidParams(fmt.Sprintf("unknown prompt %q", p.Name)) // as the SDK has it
		res, err := h.other(ctx, Use{Get, p.Name, p.Upstream, call.Arguments, unknown}, out, func(ctx context.Context) (*tool.Result, error) { return p.Call(ctx, call) })
		if err == nil && len(res.Asks) > 0 {
			out.InputRequests, out.RequestState, err = h.asked(ctx, methodGet, p.Name, res)
		}
		return out, err
	})
}

// promptArguments encodes the arguments of a prompt, as an object even if there are none.
func promptArguments(args map[string]string) (json.RawMessage, error) {
	if args == nil {
		return json.RawMessage("{}"), nil
	}
	return json.Marshal(args)
}

// leftOut is deferred around the SDK, which panics on what it does not accept: that
// one is left out of the view.
func (h *Handler) leftOut(kind, name string) {
	if p := recover(); p != nil {
		problem := fmt.Sprint(p)
		h.opts.Logger.Error("left out of MCP: the SDK does not accept it", "kind", kind, "name", name,
			"problem", problem[:min(len(problem), 300)])
	}
}
