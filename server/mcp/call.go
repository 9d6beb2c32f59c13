package mcp

//lint:file-ignore SA1019 sampling, roots and logging are spoken for as long as clients do

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tool"
)

// call makes the SDK's handler of a tool.
func (h *Handler) call(t *tool.Tool) sdk.ToolHandler {
	return func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		call, err := h.callOf(ctx, methodCall, t.Name, req.ClientCapabilities(), req.Params.InputResponses, req.Params.RequestState)
		if err != nil {
			return nil, err
		}
		call.Arguments = req.Params.Arguments
		call.Log = func(level string, data any) {
			_ = req.Session.Log(ctx, &sdk.LoggingMessageParams{Level: sdk.LoggingLevel(level), Logger: t.Name, Data: data})
		}
		if level, ok := ctx.Value(levelKey{}).(string); ok {
			call.Log = quieter(level, call.Log)
		}
		if token := req.Params.GetProgressToken(); token != nil {
			if raw, ok := ctx.Value(tokenKey{}).(jsontext.Value); ok {
				token = json.RawMessage(raw) // as the client has it
			}
			call.Progress = func(done, total float64, message string) {
				_ = req.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ // who has gone is told nothing
					ProgressToken: token, Progress: done, Total: total, Message: message})
			}
		}
		res, err := h.opts.Run(ctx, t, call)
		if needs, ok := errors.AsType[*tool.NeedsCapability](err); ok && newer(req.Session) {
			return nil, missing(needs)
		}
		if err != nil {
			return failure(err)
		}
		out := new(sdk.CallToolResult)
		if len(res.Asks) > 0 {
			out.InputRequests, out.RequestState, err = h.asked(ctx, methodCall, t.Name, res)
		} else {
			out, err = encode(res)
		}
		if err != nil {
			return failure(err)
		}
		return out, nil
	}
}

func errorText(text string) *sdk.CallToolResult {
	return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: text}}}
}

// newer reports whether the request is of the first revision in which capabilities
// come with it, or of one since.
func newer(s *sdk.ServerSession) bool {
	p := s.InitializeParams()
	return p == nil || p.ProtocolVersion >= statelessRevision
}

// logs reports whether the message calls a tool that logs, by a revision in which
// nobody asks for that.
func logs(m *message, r *http.Request) bool {
	if m.method != methodCall || is(r.Header[revisionHeader], statelessRevision) {
		return false
	}
	t := auth.DecisionFrom(r.Context()).Tools.Lookup(m.name)
	return t != nil && t.Logs
}

// callOf is the call of a tool, resource or prompt that the SDK has been asked for.
func (h *Handler) callOf(ctx context.Context, method, name string, declared *sdk.ClientCapabilities, answers sdk.InputResponseMap, state string) (*tool.Call, error) {
	call := &tool.Call{Caller: auth.DecisionFrom(ctx).Caller(), Capabilities: capabilities(declared)}
	if state != "" {
		var ok bool
		if call.State, ok = h.seal.open(ctx, method, name, state); !ok {
			return nil, invalidParams("requestState is none that was given to this caller for this call, or it is too old: begin anew without it.")
		}
	}
	if len(answers) == 0 {
		return call, nil
	}
	call.Answers = make(map[string]json.RawMessage, len(answers))
	for name, a := range answers {
		raw, err := json.Marshal(a)
		if err != nil {
			return nil, err
		}
		call.Answers[name] = raw
	}
	return call, nil
}

// capabilities are those that a tool can ask by.
func capabilities(declared *sdk.ClientCapabilities) []string {
	var out []string
	if declared == nil {
		return nil
	}
	if declared.Elicitation != nil {
		out = append(out, tool.Elicitation)
	}
	if declared.Sampling != nil {
		out = append(out, tool.Sampling)
	}
	if declared.RootsV2 != nil {
		out = append(out, tool.Roots)
	}
	return out
}

// asked has the SDK tell what is asked for.
func (h *Handler) asked(ctx context.Context, method, name string, res *tool.Result) (sdk.InputRequestMap, string, error) {
	raw, err := json.Marshal(res.Asks)
	if err != nil {
		return nil, "", err
	}
	var requests sdk.InputRequestMap
	if err := json.Unmarshal(raw, &requests); err != nil {
		return nil, "", err
	}
	if res.State == "" {
		return requests, "", nil
	}
	return requests, h.seal.seal(ctx, method, name, res.State), nil
}

func invalidParams(message string) error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: message}
}

// missing is what the protocol has for a capability that is needed (SEP-2575).
func missing(needs *tool.NeedsCapability) error {
	data, err := json.Marshal(map[string]any{"requiredCapabilities": map[string]any{needs.Name: struct{}{}}})
	if err != nil {
		return err
	}
	return &jsonrpc.Error{Code: sdk.CodeMissingRequiredClientCapabilities, Message: needs.Error(), Data: data}
}
