package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/tool"
	"github.com/sangate/sangate/server/tracing"
)

// mcpLink is a session of the Model Context Protocol, over HTTP or a process.
type mcpLink struct {
	session *sdk.ClientSession
	end     func()    // of what the session runs over
	raw     requester // past the SDK
	log     *slog.Logger

	room func(ctx context.Context) error // waits until there is room for a request; nil if there always is

	tasks sync.Map // names of tools that are called as a task

	calls    atomic.Int64
	progress sync.Map // token → reporter
}

// connect links to the upstream, by the protocol that is configured or found.
func (s *Server) connect(ctx context.Context) (link, error) {
	switch s.conf.Protocol {
	case config.ProtocolStdio:
		return s.spawn(ctx)
	case config.ProtocolOctopus:
		return &octopusLink{s.conf.BaseURL, s.client()}, nil
	case config.ProtocolMCP:
		return s.streamable(ctx, s.conf.BaseURL)
	}
	// An array at GET /tools is the Octopus dialect; else it is MCP, at the address
	// itself or at /mcp below.
	l := &octopusLink{s.conf.BaseURL, s.client()}
	_, err := l.look(ctx)
	if err == nil {
		return l, nil
	}
	l.close()
	if _, spoke := errors.AsType[*statusError](err); !spoke && !errors.Is(err, errNotOctopus) {
		return nil, err // it was not reached at all
	}
	m, err := s.streamable(ctx, s.conf.BaseURL)
	if err == nil || ctx.Err() != nil {
		return m, err
	}
	m, err2 := s.streamable(ctx, strings.TrimSuffix(s.conf.BaseURL, "/")+"/mcp")
	if err2 != nil {
		return nil, fmt.Errorf("it speaks neither the Octopus dialect (GET %s/tools) nor MCP, there or at /mcp; name its protocol and address: %w", strings.TrimSuffix(s.conf.BaseURL, "/"), errors.Join(err, err2))
	}
	return m, nil
}

func (s *Server) streamable(ctx context.Context, endpoint string) (link, error) {
	client := s.client()
	forSDK := *client
	ended := make(chan struct{})
	bounds := newInbound(ended)
	bounds.wake = s.Wake
	forSDK.Transport = kept{client.Transport, bounds}
	l, err := s.session(ctx, &sdk.StreamableClientTransport{Endpoint: endpoint, HTTPClient: &forSDK, MaxEventSize: maxAnswer}, sync.OnceFunc(func() {
		close(ended)
		client.CloseIdleConnections()
	}))
	if err != nil {
		return nil, err
	}
	l.raw = &overHTTP{endpoint, client, bounds, func() (string, string) { return l.session.ID(), l.session.InitializeResult().ProtocolVersion }}
	return l, nil
}

// session begins one; end is called when it is over, or has not begun.
func (s *Server) session(ctx context.Context, transport sdk.Transport, end func()) (*mcpLink, error) {
	l := &mcpLink{end: end, log: s.log}
	client := sdk.NewClient(&sdk.Implementation{Name: "sangate", Version: s.opts.Version}, &sdk.ClientOptions{
		Logger:                     s.told,
		Capabilities:               &sdk.ClientCapabilities{}, // nobody is there to be asked
		ToolListChangedHandler:     func(context.Context, *sdk.ToolListChangedRequest) { s.Wake() },
		PromptListChangedHandler:   func(context.Context, *sdk.PromptListChangedRequest) { s.Wake() },
		ResourceListChangedHandler: func(context.Context, *sdk.ResourceListChangedRequest) { s.Wake() },
		ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
			defer contain.Panic(s.log, "pass on progress of an upstream")
			if report, ok := l.progress.Load(fmt.Sprint(r.Params.ProgressToken)); ok {
				report.(reporter)(r.Params.Progress, r.Params.Total, r.Params.Message)
			}
		},
		MultiRoundTrip: &sdk.MultiRoundTripOptions{Disabled: true},
	})
	client.AddSendingMiddleware(countPages)
	client.AddReceivingMiddleware(containing(s.log))
	session, err := client.Connect(ctx, transport, nil)
	if err != nil {
		end()
		return nil, err
	}
	l.session = session
	return l, nil
}

func (l *mcpLink) look(ctx context.Context) (*listing, error) {
	ctx, looks := new(intake.Source).Begin(ctx) // beside the calls: it does not wait for them
	defer looks.End(0)
	ctx = context.WithValue(ctx, pagesKey{}, new(int))
	out := &listing{}
	caps := l.session.InitializeResult().Capabilities
	if caps == nil {
		return out, nil
	}
	if caps.Tools != nil {
		for t, err := range l.session.Tools(ctx, nil) {
			if err == nil && t == nil {
				continue
			}
			if out.tools, err = out.keep(out.tools, t, err); err != nil {
				return nil, err
			}
			if out.cut {
				return out, nil
			}
			if t.Meta[taskSupport] == "required" {
				l.tasks.Store(t.Name, true)
			} else {
				l.tasks.Delete(t.Name)
			}
		}
	}
	if caps.Resources != nil {
		for r, err := range l.session.Resources(ctx, nil) {
			if out.resources, err = out.keep(out.resources, r, err); err != nil || out.cut {
				return out, err
			}
		}
		for r, err := range l.session.ResourceTemplates(ctx, nil) {
			if out.templates, err = out.keep(out.templates, r, err); err != nil || out.cut {
				return out, err
			}
		}
	}
	if caps.Prompts != nil {
		for p, err := range l.session.Prompts(ctx, nil) {
			if out.prompts, err = out.keep(out.prompts, p, err); err != nil || out.cut {
				return out, err
			}
		}
	}
	return out, nil
}

// keep adds an entry to one of the lists; a list without end is not read on, and
// nothing beyond maxTotal.
func (out *listing) keep(list []json.RawMessage, v any, err error) ([]json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	if len(list) > maxOffered {
		return nil, fmt.Errorf("more than %d entries in one list", maxOffered)
	}
	raw, err := json.Marshal(v)
	if out.bytes += len(raw); out.bytes > maxTotal {
		out.cut = true
		return list, err
	}
	return append(list, raw), err
}

func (l *mcpLink) call(ctx context.Context, name string, call *tool.Call) (*tool.Result, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	if _, ok := l.tasks.Load(name); ok {
		return l.callTask(ctx, name, call)
	}
	params := &sdk.CallToolParams{Name: name, Arguments: call.Arguments, Meta: tracing.Meta(ctx)}
	if call.Progress != nil {
		token := strconv.FormatInt(l.calls.Add(1), 10)
		report, done := relay(ctx, l.log, call.Progress)
		defer done()
		l.progress.Store(token, report)
		defer l.progress.Delete(token)
		params.SetProgressToken(token)
	}
	res, err := l.session.CallTool(ctx, params)
	if err != nil {
		return nil, said(err)
	}
	if res.NeedsInput() {
		return nil, &tool.UpstreamError{Kind: tool.UpstreamFailed, Said: true, Err: errors.New("the tool asks for input, which does not pass through the gate")}
	}
	out := &tool.Result{IsError: res.IsError}
	if out.Structured, err = structured(res.StructuredContent); err != nil {
		return nil, err
	}
	if len(res.Content) > 0 || out.Structured == nil {
		if out.Content, err = json.Marshal(append([]sdk.Content{}, res.Content...)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ready waits until a request can be sent.
func (l *mcpLink) ready(ctx context.Context) error {
	if l.room == nil {
		return nil
	}
	return l.room(ctx)
}

func (l *mcpLink) read(ctx context.Context, uri string) (*tool.Result, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	res, err := l.session.ReadResource(ctx, &sdk.ReadResourceParams{URI: uri, Meta: tracing.Meta(ctx)})
	return encoded(res, err)
}

func (l *mcpLink) prompt(ctx context.Context, name string, args map[string]string) (*tool.Result, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	res, err := l.session.GetPrompt(ctx, &sdk.GetPromptParams{Name: name, Arguments: args, Meta: tracing.Meta(ctx)})
	return encoded(res, err)
}

func encoded(res any, err error) (*tool.Result, error) {
	if err != nil {
		return nil, said(err)
	}
	raw, err := json.Marshal(res)
	if err != nil {
		return nil, err
	}
	return &tool.Result{Structured: raw}, nil
}

// said tells what the upstream answered from what never came to an answer.
func said(err error) error {
	if _, ok := errors.AsType[*jsonrpc.Error](err); ok && !errors.Is(err, sdk.ErrSessionMissing) {
		return &tool.UpstreamError{Kind: tool.UpstreamFailed, Said: true, Err: err}
	}
	return err
}

func (l *mcpLink) close() {
	_ = l.session.Close() // who is gone has nothing to say to it
	l.end()
}
