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
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tool"
)

// Options of a Handler; all but Logger must be set.
type Options struct {
	// Admit applies the policy to a call of a tool and records the final
	// decision; name is "" where no tool is called. args are needed where the
	// decision looks at them, nil where they cannot be read.
	Admit func(r *http.Request, name string, args []byte) *auth.Decision
	// Refuse records that an admitted request is refused after all.
	Refuse func(r *http.Request, reason auth.Reason) *auth.Decision
	// Run calls the tool, timed, counted and logged.
	Run func(ctx context.Context, t *tool.Tool, call *tool.Call) (*tool.Result, error)
	// Expect takes the place of Admit for what may lead to a use of that kind, or, if
	// kind is "", to a stream: that records the final decision. Expect decides again and
	// records a refusal only.
	Expect func(r *http.Request, kind Kind) *auth.Decision
	// Use reads a resource, gets a prompt or completes an argument by do: decided right
	// before, timed, counted and logged. It returns [ErrDenied] if the policy denies
	// it. The context of do ends when the request may not go on, or has taken too long.
	Use func(ctx context.Context, u Use, do func(context.Context) (*tool.Result, error)) (*tool.Result, error)
	// Listens admits a request as a stream of what changes, before its answer begins,
	// and records the decision; nil: all are admitted.
	Listens func(r *http.Request) *auth.Decision
	// Watching reports whether a stream that was admitted may be told now that a resource
	// it watches is another; nil: it may.
	Watching func(r *http.Request, uri string) bool
	// Copied is called before the SDK answers a request, with its body: the SDK makes
	// copies of it, and as long as the answer is written, it holds the body and some
	// copies of the answer. An error is answered in its place; nil: nobody asks.
	Copied func(r *http.Request, body []byte) error
	// Traced hears of each message before it is answered; nil: nobody asks.
	Traced  func(r *http.Request, m Message)
	MaxBody int64 // bytes
	Version string
	Now     func() time.Time
	Logger  *slog.Logger
	// Repeated is for lines that a client can cause at will; nil: Logger.
	Repeated *slog.Logger
}

// ErrDenied reports a resource or prompt that the policy denies. Clients are answered as
// if it did not exist.
var ErrDenied = errors.New("denied by the tenant's policy")

// A Handler serves /mcp.
type Handler struct {
	opts     Options
	sdk      http.Handler // answers with JSON, and
	events   http.Handler // with events, for whom they are more to
	sessions *sessions
	metas    metas
	seal     sealer
	heard    *listeners
	kept     keeper
	identity string // what 2026-07-28 has in _meta of results, as JSON
}

// New makes a handler.
func New(opts Options) *Handler {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Repeated == nil {
		opts.Repeated = opts.Logger
	}
	h := &Handler{opts: opts, sessions: newSessions(opts.Now), seal: newSealer(opts.Now), heard: newListeners()}
	h.identity = identityOf(opts.Version)
	for handler, asJSON := range map[*http.Handler]bool{&h.sdk: true, &h.events: false} {
		*handler = sdk.NewStreamableHTTPHandler(h.server, &sdk.StreamableHTTPOptions{
			Stateless:                    true,
			JSONResponse:                 asJSON,
			PropagateRequestCancellation: true,
			MaxRequestBodyBytes:          opts.MaxBody,
			DisableLocalhostProtection:   true, // the gate checks Host and Origin on every path
			Logger:                       unheard,
		})
	}
	return h
}

// unheard takes what the SDK logs, which does not say of which request it is: of those
// that fail, there is a line of the gate's own.
var unheard = slog.New(slog.DiscardHandler)

// Post answers POST /mcp for an admitted request.
func (h *Handler) Post(w http.ResponseWriter, r *http.Request) { h.post(w, r, h.direct) }

// post has the direct path answer, or where it cannot, the SDK.
func (h *Handler) post(w http.ResponseWriter, r *http.Request, direct func(http.ResponseWriter, *http.Request, *message) bool) {
	id, ok := h.session(w, r)
	if !ok {
		return
	}
	room := bodies.Get().(*[]byte)
	body, err := answer.BodyInto(*room, w, r, h.opts.MaxBody)
	if err != nil {
		answer.FailWith(w, r, err)
		return
	}
	var msg message
	if err := msg.parse(body, &h.metas); err != nil {
		answer.FailWith(w, r, err)
		return
	}
	if h.opts.Traced != nil {
		h.opts.Traced(r, msg.told(r))
	}
	if !msg.goodID() {
		h.refuseID(w, r, &msg)
		return
	}
	switch d := h.admit(r, &msg); {
	case d.Reason == auth.ToolDenied:
		// A denied tool is not refused here: to the SDK it is unknown, because
		// it is not in the view, and the answer is the same.
		denied := *auth.DecisionFrom(r.Context())
		denied.Tools = denied.Tools.Without([]string{msg.name}, false)
		r = r.WithContext(auth.WithDecision(r.Context(), &denied))
	case !d.OK():
		answer.Fail(w, r, answer.Refusal(d, true))
		return
	}
	msg.body = body // and nothing else holds it: see forget
	if !direct(w, r, &msg) {
		if id != (sessionID{}) {
			r = h.note(id, r, &msg, msg.body)
		}
		h.bySDK(w, r, &msg, msg.body) // which may hold on to it
		return
	}
	if msg.body != nil && cap(msg.body) <= maxReply {
		*room = msg.body
		bodies.Put(room)
	}
}

// admit records the decision on a message, unless that is left to a use.
func (h *Handler) admit(r *http.Request, m *message) *auth.Decision {
	if kind := m.kind(); kind != "" || m.method == methodListen {
		return h.opts.Expect(r, kind)
	}
	name, args := m.tool()
	return h.opts.Admit(r, name, args)
}

// bodies are buffers that requests were read into. What is answered directly is
// done with its own when it is answered.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// bySDK has the SDK answer.
func (h *Handler) bySDK(w http.ResponseWriter, r *http.Request, m *message, body []byte) {
	if h.opts.Copied != nil {
		if err := h.opts.Copied(r, body); err != nil {
			answer.FailWith(w, r, err)
			return
		}
	}
	id, r := m.standIns(r)
	if m.method == methodRead && !m.response {
		r = r.WithContext(context.WithValue(r.Context(), readsKey{}, true))
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	jw := &jsonWriter{ResponseWriter: w, request: r, id: id, failed: func(e *jsonrpc.Error) { h.failed(r, m, e) }}
	if m.method == methodInitialize {
		jw.session = h.sessions.begin(auth.DecisionFrom(r.Context()))
	}
	if m.wantsEvents() || logs(m, r) || prefersEvents(r.Header["Accept"]) {
		h.events.ServeHTTP(jw, r)
	} else {
		h.sdk.ServeHTTP(jw, r)
	}
	jw.end()
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
	h.kept.forget(id)
	w.WriteHeader(http.StatusNoContent)
}

// session takes the session id off the request, zero where it has none, or
// answers why it is no good. Revision 2026-07-28 has no sessions, and passes the
// header over.
func (h *Handler) session(w http.ResponseWriter, r *http.Request) (sessionID, bool) {
	values := r.Header[sessionHeader]
	if len(values) == 0 {
		return sessionID{}, true
	}
	delete(r.Header, sessionHeader) // the SDK holds none
	if is(r.Header[revisionHeader], statelessRevision) {
		return sessionID{}, true
	}
	id, v := h.sessions.look(values, auth.DecisionFrom(r.Context()))
	switch v {
	case own:
		return id, true
	case malformed:
		answer.Fail(w, r, answer.BadRequest("More than one Mcp-Session-Id."))
	case unknown:
		answer.Fail(w, r, answer.Error{Status: http.StatusNotFound, Code: answer.NotFound.Code, Message: "No such session: send initialize again."})
	default:
		d := h.opts.Refuse(r, auth.SessionMismatch)
		answer.Fail(w, r, answer.Refusal(d, false))
	}
	return id, false
}

// statelessRevision is the first without sessions.
const statelessRevision = "2026-07-28"

// identityOf is how the server names itself in results (SEP-2575).
func identityOf(version string) string {
	name, err := json.Marshal(map[string]any{metaPrefix + "serverInfo": &sdk.Implementation{Name: "sangate", Version: version}})
	if err != nil {
		panic(err) // texts always encode
	}
	return string(name)
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
	if needs, ok := errors.AsType[*tool.NeedsCapability](err); ok {
		return errorText(needs.Error()), nil
	}
	return nil, errors.New(answer.Internal.Message)
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
