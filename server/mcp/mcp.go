// Package mcp is the Model Context Protocol dialect: POST /mcp, Streamable HTTP,
// every revision the official SDK knows. It parses strictly before the SDK sees a
// byte, and decides nothing but whose a session is: the decision comes with the
// request, the policy on a tool from the caller of this package. The SDK itself
// serves every request by itself; sessions of older revisions are ids in front of
// it that only their owner can use.
package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tool"
)

// Options of a Handler; all but Logger must be set.
type Options struct {
	// Admit applies the policy to a call of a tool and records the final
	// decision; name is "" where no tool is called. args returns the arguments,
	// nil where they cannot be read.
	Admit func(r *http.Request, name string, args func() []byte) auth.Decision
	// Refuse records that an admitted request is refused after all.
	Refuse func(r *http.Request, reason auth.Reason) auth.Decision
	// Run calls the tool, timed, counted and logged.
	Run func(ctx context.Context, t *tool.Tool, call *tool.Call) (*tool.Result, error)
	// Bound has a context end when the request may go on no longer, or has
	// taken too long.
	Bound   func(context.Context) (context.Context, context.CancelFunc)
	MaxBody int64 // bytes
	Version string
	Now     func() time.Time
	Logger  *slog.Logger
}

// A Handler serves /mcp.
type Handler struct {
	opts     Options
	sdk      http.Handler // answers with JSON, and
	stream   http.Handler // with events, for calls that tell their progress
	sessions *sessions
	cache    atomic.Pointer[cache]
}

// A cache holds one SDK server for each view of one catalog.
type cache struct {
	catalog *tool.Catalog
	servers sync.Map // *tool.View → *sdk.Server
}

// New makes a handler.
func New(opts Options) *Handler {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Logger = slog.New(quiet{opts.Logger.Handler()})
	h := &Handler{opts: opts, sessions: newSessions(opts.Now)}
	h.cache.Store(&cache{})
	for handler, asJSON := range map[*http.Handler]bool{&h.sdk: true, &h.stream: false} {
		*handler = sdk.NewStreamableHTTPHandler(h.server, &sdk.StreamableHTTPOptions{
			Stateless:                    true,
			JSONResponse:                 asJSON,
			PropagateRequestCancellation: true,
			MaxRequestBodyBytes:          opts.MaxBody,
			DisableLocalhostProtection:   true, // the gate checks Host and Origin on every path
			Logger:                       opts.Logger,
		})
	}
	return h
}

// Post answers POST /mcp for an admitted request.
func (h *Handler) Post(w http.ResponseWriter, r *http.Request) {
	if _, ok := h.session(w, r); !ok {
		return
	}
	body, err := answer.Body(w, r, h.opts.MaxBody)
	if err != nil {
		answer.FailWith(w, r, err)
		return
	}
	msg, err := parseMessage(body)
	if err != nil {
		answer.FailWith(w, r, err)
		return
	}
	name, args := msg.tool()
	switch d := h.opts.Admit(r, name, func() []byte { return args }); {
	case d.Reason == auth.ToolDenied:
		// A denied tool is not refused here: to the SDK it is unknown, because
		// it is not in the view, and the answer is the same.
		denied := *auth.DecisionFrom(r.Context())
		denied.Tools = denied.Tools.Without([]string{name}, false)
		r = r.WithContext(auth.WithDecision(r.Context(), &denied))
	case !d.OK():
		answer.Fail(w, r, answer.Refusal(&d, true))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	jw := &jsonWriter{ResponseWriter: w, request: r}
	if msg.Method == "initialize" {
		jw.session = h.sessions.begin(auth.DecisionFrom(r.Context()))
	}
	if msg.wantsProgress() {
		h.stream.ServeHTTP(jw, r)
	} else {
		h.sdk.ServeHTTP(jw, r)
	}
	jw.WriteHeader(http.StatusOK) // where the SDK gave up without an answer
}

// Delete answers DELETE /mcp for an admitted request: the end of a session.
func (h *Handler) Delete(w http.ResponseWriter, r *http.Request) {
	id, ok := h.session(w, r)
	switch {
	case !ok:
		return
	case id == sessionID{}:
		answer.Fail(w, r, answer.BadRequest("Name the session to end in Mcp-Session-Id."))
		return
	}
	h.opts.Admit(r, "", nil)
	h.sessions.end(id)
	w.WriteHeader(http.StatusNoContent)
}

// session takes the session id off the request, zero where it has none, or
// answers why it is no good. Revision 2026-07-28 has no sessions, and passes the
// header over.
func (h *Handler) session(w http.ResponseWriter, r *http.Request) (sessionID, bool) {
	if r.Header.Get("MCP-Protocol-Version") == statelessRevision {
		r.Header.Del(sessionHeader)
	}
	id, v := h.sessions.look(r.Header, auth.DecisionFrom(r.Context()))
	r.Header.Del(sessionHeader) // the SDK holds none
	switch v {
	case noSession, own:
		return id, true
	case malformed:
		answer.Fail(w, r, answer.BadRequest("More than one Mcp-Session-Id."))
	case unknown:
		answer.Fail(w, r, answer.Error{Status: http.StatusNotFound, Code: answer.NotFound.Code, Message: "No such session: send initialize again."})
	default:
		d := h.opts.Refuse(r, auth.SessionMismatch)
		answer.Fail(w, r, answer.Refusal(&d, false))
	}
	return id, false
}

// statelessRevision is the first without sessions.
const statelessRevision = "2026-07-28"

// server returns the SDK server of the tenant's view. The SDK asks twice for
// every request.
func (h *Handler) server(r *http.Request) *sdk.Server {
	d := auth.DecisionFrom(r.Context())
	c := h.cache.Load()
	if c.catalog != d.Snapshot.Tools {
		c = &cache{catalog: d.Snapshot.Tools}
		h.cache.Store(c)
	}
	if s, ok := c.servers.Load(d.Tools); ok {
		return s.(*sdk.Server)
	}
	s, _ := c.servers.LoadOrStore(d.Tools, h.newServer(d.Tools))
	return s.(*sdk.Server)
}

// call makes the SDK's handler of a tool.
func (h *Handler) call(t *tool.Tool) sdk.ToolHandler {
	return func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		d := auth.DecisionFrom(ctx)
		call := &tool.Call{Caller: d.Caller(), Arguments: req.Params.Arguments}
		if token := req.Params.GetProgressToken(); token != nil {
			call.Progress = func(done, total float64, message string) {
				_ = req.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ // who has gone is told nothing
					ProgressToken: token, Progress: done, Total: total, Message: message})
			}
		}
		res, err := h.opts.Run(ctx, t, call)
		if err != nil {
			return failure(err)
		}
		return encode(res)
	}
}

// failure turns an error of a tool into what a model can read and mend, or,
// where it is the gate's own, into a JSON-RPC error that says nothing.
func failure(err error) (*sdk.CallToolResult, error) {
	if invalid, ok := errors.AsType[*tool.InvalidArguments](err); ok {
		var lines []string
		for _, p := range invalid.Problems {
			lines = append(lines, p.Pointer+": "+p.Message)
		}
		return errorText("Invalid arguments.\n" + strings.Join(lines, "\n")), nil
	}
	if failed, ok := errors.AsType[*tool.Failure](err); ok {
		return errorText(failed.Message), nil
	}
	if upstream, ok := errors.AsType[*tool.UpstreamError](err); ok {
		return errorText(upstream.Message()), nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errorText(answer.Timeout.Message), nil
	}
	return nil, errors.New(answer.Internal.Message)
}

func errorText(text string) *sdk.CallToolResult {
	return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: text}}}
}

// encode fills the content with the structured result as text where there is
// no other, as older revisions want it.
func encode(res *tool.Result) (*sdk.CallToolResult, error) {
	out := &sdk.CallToolResult{}
	if res.Content != nil {
		raw := append(append([]byte(`{"content":`), res.Content...), '}')
		if err := json.Unmarshal(raw, out); err != nil {
			return nil, err
		}
	} else {
		out.Content = []sdk.Content{&sdk.TextContent{Text: string(res.Structured)}}
	}
	if res.Structured != nil {
		out.StructuredContent = res.Structured
	}
	out.IsError = res.IsError
	return out, nil
}
