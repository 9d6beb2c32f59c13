package mcp

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/object"
)

// A message is one JSON-RPC 2.0 message, as far as the gate needs to read it. All
// of it lies in the body.
type message struct {
	id       jsontext.Value // nil: none
	method   string         // "" of a response
	params   bool           // there are some
	response bool

	// Of the parameters.
	name      string // of a tool, resource or prompt
	arguments jsontext.Value
	protocol  string // protocolVersion, of initialize
	client    client // of initialize
	meta      *meta  // nil: none
	rawMeta   jsontext.Value
	other     bool // there is more

	notifications jsontext.Value // of subscriptions/listen

	body []byte // all of it
}

// forget lets go of a large body before the answer is written, which may take long.
func (m *message) forget() {
	if cap(m.body) > maxReply {
		*m = message{}
	}
}

// A client is what one says about itself.
type client struct{ capabilities, info jsontext.Value }

// parse accepts one message: no batch, no name twice or in other case, no
// invalid UTF-8, nothing unknown in the envelope, no params but an object, and
// neither request nor response is nothing. It reads the body once.
func (m *message) parse(body []byte, metas *metas) error {
	r := object.Read(body)
	version, ok := "", true
	r.Enter()
	for name, more := r.Next(); more; name, more = r.Next() {
		switch string(name) {
		case "jsonrpc":
			version = known(r.Text())
		case "id":
			m.id = r.Value()
		case "method":
			m.method = known(r.Text())
		case "params":
			m.params = true
			m.readParams(r, metas)
		case "result", "error":
			m.response = true
			r.Value()
		default:
			ok = false
			r.Value()
		}
	}
	if err := r.Close(); err != nil || !ok || version != "2.0" || (m.method == "" && !m.response) {
		e := answer.BadRequest("Send one JSON-RPC 2.0 message, each name once; batches are not taken.")
		return &e
	}
	return nil
}

func (m *message) readParams(r *object.Reader, metas *metas) {
	r.Enter()
	for name, more := r.Next(); more; name, more = r.Next() {
		switch text := r.Kind() == '"'; {
		case string(name) == "name" && text:
			m.name = string(r.Text())
		case string(name) == "arguments":
			m.arguments = r.Value()
		case string(name) == "protocolVersion" && text:
			m.protocol = known(r.Text())
		case string(name) == "capabilities":
			m.client.capabilities = r.Value()
		case string(name) == "clientInfo":
			m.client.info = r.Value()
		case string(name) == "notifications":
			m.notifications = r.Value()
		case string(name) == "_meta" && r.Kind() == '{':
			m.rawMeta = r.Value()
			m.meta = metas.read(m.rawMeta)
		default:
			m.other = true
			r.Value()
		}
	}
}

// known returns a text, without a copy where it is one that most messages have.
func known(text []byte) string {
	switch string(text) {
	case "2.0":
		return "2.0"
	case methodCall:
		return methodCall
	case methodList:
		return methodList
	case statelessRevision:
		return statelessRevision
	}
	return string(text)
}

// wantsEvents reports whether the message makes a call and asks to be told how far
// it is, or what it logs.
func (m *message) wantsEvents() bool {
	return m.method == methodCall && m.meta != nil && (m.meta.progress || m.meta.logs)
}

// tool returns the name of the tool the message calls, or "", and the arguments;
// nil where it cannot be read.
func (m *message) tool() (name string, args []byte) {
	switch {
	case m.method != methodCall || m.name == "":
		return "", nil
	case m.arguments == nil:
		return m.name, []byte("{}")
	}
	return m.name, m.arguments
}
