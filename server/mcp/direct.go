package mcp

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/shape"
	"github.com/sangate/sangate/server/tool"
	"github.com/sangate/sangate/server/tracing"
)

// The methods that make up the load.
const (
	methodCall       = "tools/call"
	methodList       = "tools/list"
	methodDiscover   = "server/discover"
	methodPing       = "ping"
	methodInitialize = "initialize"
)

// The direct path answers the requests that make up the load without the SDK, as
// the SDK would; a test holds one against the other. It takes what it fully
// understands. Everything else, and everything that is wrong, is the SDK's.

// direct answers the message, or reports that the SDK has to.
func (h *Handler) direct(w http.ResponseWriter, r *http.Request, m *message) bool {
	if m.method == methodListen {
		return h.listen(w, r, m)
	}
	stateless, ok := understood(r.Header, m)
	if !ok {
		return false
	}
	if m.method != methodCall {
		result := h.face(r).answer(h, r, answerKey{m.method, m.protocol, stateless})
		if result == nil {
			return false
		}
		if m.method == methodInitialize {
			w.Header().Set(sessionHeader, h.sessions.begin(auth.DecisionFrom(r.Context())))
		}
		b := begin(m.id)
		defer b.free()
		b.add(result)
		b.send(w)
		return true
	}
	t := auth.DecisionFrom(r.Context()).Tools.Lookup(m.name)
	if t == nil || t.Asks || (t.Logs && !stateless) || (stateless && strings.Contains(string(t.InputSchema), "x-mcp-header")) {
		return false
	}
	h.callDirect(w, r, m, t, stateless)
	return true
}

// callDirect calls a tool and answers with its result.
func (h *Handler) callDirect(w http.ResponseWriter, r *http.Request, m *message, t *tool.Tool, stateless bool) {
	ctx := r.Context()
	d := auth.DecisionFrom(ctx)
	args := []byte("{}")
	if m.arguments != nil {
		args = bytes.Clone(m.arguments) // a tool may keep them
	}
	res, err := h.opts.Run(ctx, t, &tool.Call{Caller: d.Caller(), Arguments: args})
	if cut := context.Cause(ctx); cut != nil {
		answer.FailWith(w, r, cut)
		return
	}
	b := begin(m.id)
	defer b.free()
	if err == nil {
		err = b.result(res, h.identity, stateless)
	} else if told, internal := failure(err); internal == nil {
		err = b.told(told, h.identity, stateless)
	}
	if err != nil {
		answer.Note(ctx, answer.Internal.Code, err.Error())
		b.failed(m.id)
		tracing.Answered(ctx, 0)
	}
	m.forget()
	b.send(w)
}

// understood reports whether a request is one of the direct path's, by its headers
// and its message, and whether it is of the revision without sessions.
func understood(head http.Header, m *message) (stateless, ok bool) {
	if !plainID(m.id) || m.response || m.other || m.notifications != nil || len(head["Last-Event-Id"]) > 0 ||
		len(head["Content-Type"]) != 1 || head["Content-Type"][0] == "" || !accepts(head["Accept"]) {
		return false, false
	}
	revision := ""
	switch versions := head[revisionHeader]; len(versions) {
	case 0:
	case 1:
		revision = versions[0]
	default:
		return false, false
	}
	if stateless = revision == statelessRevision; !stateless {
		if revision != "" && !slices.Contains(olderRevisions, revision) || m.meta != nil && !m.meta.unknown() {
			return false, false
		}
	} else if m.meta == nil || m.meta.other || m.meta.progress || m.meta.revision != statelessRevision || !m.meta.plain || !is(head["Mcp-Method"], m.method) {
		return false, false
	}
	introduced := m.protocol != "" || m.client.capabilities != nil || m.client.info != nil
	named := m.name != "" || m.arguments != nil
	switch m.method {
	case methodCall:
		ok = m.name != "" && !introduced && (m.arguments == nil || m.arguments.Kind() == '{') && (!stateless || is(head["Mcp-Name"], m.name))
	case methodList:
		ok = !named && !introduced
	case methodDiscover:
		ok = stateless && !named && !introduced
	case methodPing:
		ok = !stateless && !named && !introduced
	case methodInitialize:
		ok = !stateless && !named && m.meta == nil && slices.Contains(olderRevisions, m.protocol) && m.client.plain()
	}
	return stateless, ok
}

// revisionHeader says of which revision a request is.
const revisionHeader = "Mcp-Protocol-Version"

// unknown reports whether nothing in it belongs to the protocol.
func (m *meta) unknown() bool {
	return !m.other && !m.progress && m.revision == "" && m.capabilities == nil && m.info == nil
}

// olderRevisions are those with sessions.
var olderRevisions = []string{"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}

func is(values []string, want string) bool { return len(values) == 1 && values[0] == want }

// accepts reports whether the Accept header surely takes JSON and events, which
// the transport wants of every request, and JSON before them.
func accepts(values []string) bool {
	if len(values) != 1 {
		return false
	}
	switch values[0] {
	case "application/json, text/event-stream", "application/json,text/event-stream", "*/*":
		return true
	}
	return false
}

// prefersEvents reports whether a header that takes both names events first. The
// transport leaves the choice to the server; a client may have one all the same.
func prefersEvents(values []string) bool {
	return len(values) == 1 && strings.HasPrefix(values[0], "text/event-stream")
}

// plainID takes texts, and integers of at most 15 digits, which every reader has
// the same of.
func plainID(id jsontext.Value) bool {
	switch id.Kind() {
	case '"':
		return true
	case '0':
		digits := strings.TrimPrefix(string(id), "-")
		return len(digits) <= 15 && string(id) != "-0" && strings.Trim(digits, "0123456789") == ""
	}
	return false
}

// What clients say about themselves, as far as it surely is what it should be.
var (
	capabilitiesShape = shapeOf(map[string]any{"experimental": anObject, "extensions": anObject, "tasks": false,
		"roots":       objectOf(map[string]any{"listChanged": aBool}),
		"sampling":    objectOf(map[string]any{"context": anObject, "tools": anObject}),
		"elicitation": objectOf(map[string]any{"form": anObject, "url": anObject})})
	infoShape = shapeOf(map[string]any{"name": aText, "title": aText, "version": aText, "websiteUrl": aText, "description": aText, "icons": false})

	aBool    = map[string]any{"type": "boolean"}
	aText    = map[string]any{"type": "string"}
	anObject = objectOf(map[string]any{})
)

func objectOf(properties map[string]any) map[string]any {
	return map[string]any{"type": "object", "properties": properties}
}

func shapeOf(properties map[string]any) *shape.Shape { return shape.Of(objectOf(properties)) }

func (c *client) plain() bool {
	return capabilitiesShape.Accepts(c.capabilities) && (c.info == nil || infoShape.Accepts(c.info))
}
