package mcp

import (
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/object"
)

// A Message is what a trace tells of one.
type Message struct {
	Method   string            // one that there is, or _OTHER
	ID       string            // of JSON-RPC; "" where it is long, or null
	Name     string            // of a tool or prompt, as the peer has it
	Revision string            // one that there is, or ""
	Context  map[string]string // traceparent and tracestate, of _meta
}

// maxID bounds an id that is told, in bytes of JSON: with it the span waits for the
// collector.
const maxID = 128

// methods are those that peers can ask for.
var methods = map[string]bool{methodCall: true, methodList: true, methodDiscover: true, methodPing: true, methodInitialize: true, methodListen: true,
	"resources/list": true, "resources/templates/list": true, methodRead: true, "resources/subscribe": true, "resources/unsubscribe": true,
	"prompts/list": true, methodGet: true, methodComplete: true, "logging/setLevel": true,
	"notifications/initialized": true, "notifications/cancelled": true, "notifications/progress": true, "notifications/roots/list_changed": true}

// knownMethod is the method, or what stands for those that there are not.
func (m *message) knownMethod() string {
	if methods[m.method] {
		return m.method
	}
	return "_OTHER"
}

// told returns what a trace tells of the message.
func (m *message) told(r *http.Request) Message {
	out := Message{Method: m.knownMethod(), Name: m.name, ID: toldID(m.id), Revision: toldRevision(r.Header.Get(revisionHeader))}
	if m.rawMeta == nil {
		return out
	}
	o := object.Read(m.rawMeta)
	o.Enter()
	for name, more := o.Next(); more; name, more = o.Next() {
		switch key := string(name); {
		case (key == "traceparent" || key == "tracestate") && o.Kind() == '"':
			if out.Context == nil {
				out.Context = make(map[string]string, 2)
			}
			out.Context[key] = string(o.Text())
		default:
			o.Value()
		}
	}
	return out
}

func toldID(id jsontext.Value) string {
	switch kind := id.Kind(); {
	case len(id) > maxID || kind == 'n':
		return ""
	case kind == '"':
		text, _ := jsontext.AppendUnquote(nil, id) // was read already
		return string(text)
	}
	return string(id)
}

// toldRevision returns what is the gate's own text, not the peer's.
func toldRevision(text string) string {
	if text == statelessRevision {
		return statelessRevision
	}
	if i := slices.Index(olderRevisions, text); i >= 0 {
		return olderRevisions[i]
	}
	return ""
}
