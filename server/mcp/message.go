package mcp

import (
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/answer"
)

// A message is one JSON-RPC 2.0 message, as far as the gate needs to read it.
type message struct {
	JSONRPC string         `json:"jsonrpc"`
	ID      jsontext.Value `json:"id"`
	Method  string         `json:"method"`
	Params  jsontext.Value `json:"params"`
	Result  jsontext.Value `json:"result"`
	Error   jsontext.Value `json:"error"`
}

// parseMessage accepts one message: no batch, no name twice or in other case,
// no invalid UTF-8, nothing unknown in the envelope, no params but an object, and
// neither request nor response is nothing.
func parseMessage(body []byte) (*message, error) {
	var m message
	err := jsonv2.Unmarshal(body, &m, jsonv2.RejectUnknownMembers(true))
	if err != nil || m.JSONRPC != "2.0" || (m.Params != nil && m.Params.Kind() != '{') ||
		(m.Method == "" && m.Result == nil && m.Error == nil) {
		e := answer.BadRequest("Send one JSON-RPC 2.0 message, each name once; batches are not taken.")
		return nil, &e
	}
	return &m, nil
}

// wantsProgress reports whether the message calls a tool and asks to be told how
// far it is.
func (m *message) wantsProgress() bool {
	var params struct {
		Meta struct {
			Token jsontext.Value `json:"progressToken"`
		} `json:"_meta"`
	}
	return m.Method == "tools/call" && jsonv2.Unmarshal(m.Params, &params) == nil && params.Meta.Token != nil
}

// tool returns the name of the tool the message calls, or "", and the arguments;
// nil where it cannot be read.
func (m *message) tool() (name string, args []byte) {
	if m.Method != "tools/call" {
		return "", nil
	}
	var params struct {
		Name      string         `json:"name"`
		Arguments jsontext.Value `json:"arguments"`
	}
	if err := jsonv2.Unmarshal(m.Params, &params); err != nil {
		return "", nil // the SDK says what is wrong with it
	}
	if params.Arguments == nil {
		params.Arguments = jsontext.Value("{}")
	}
	return params.Name, params.Arguments
}
