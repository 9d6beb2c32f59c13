package mcp

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/object"
	"github.com/sangate/sangate/server/tracing"
)

// The SDK reads ids and progress tokens as 64-bit floats or texts, and writes them in its
// own way. So it is given others in their place, and clients get back what they sent.

// goodID reports whether a request has the id that the protocol wants: a text or a whole
// number. A notification has none; some clients write null there.
func (m *message) goodID() bool {
	if m.id == nil || m.method == "" {
		return true
	}
	switch m.id.Kind() {
	case '"':
		return true
	case '0':
		return whole(string(m.id))
	case 'n':
		return strings.HasPrefix(m.method, "notifications/")
	}
	return false
}

// whole reports whether a number of JSON has no fraction, however it is written.
func whole(number string) bool {
	mantissa, exponent := number, 0
	if at := strings.IndexAny(number, "eE"); at >= 0 {
		mantissa = number[:at]
		exponent, _ = strconv.Atoi(number[at+1:]) // the largest there is where it is beyond
	}
	integer, fraction, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	digits := integer + fraction
	significant := strings.TrimRight(digits, "0")
	return significant == "" || exponent >= len(significant)-len(integer)
}

// refuseID answers a request whose id is none: of a number, by an error of JSON-RPC that
// has it. What is neither number nor text cannot stand in one.
func (h *Handler) refuseID(w http.ResponseWriter, r *http.Request, m *message) {
	const message = "The id of a request is a text or a whole number."
	if m.id.Kind() != '0' {
		answer.Fail(w, r, answer.BadRequest(message))
		return
	}
	answer.Note(r.Context(), answer.BadRequest("").Code, message)
	tracing.Answered(r.Context(), jsonrpc.CodeInvalidRequest)
	b := replies.Get().(*reply)
	defer b.free()
	b.start(m.id)
	b.text(`,"error":{"code":` + strconv.Itoa(jsonrpc.CodeInvalidRequest) + `,"message":"` + message + `"}}`)
	answer.JSON(w, http.StatusBadRequest, b.buf)
}

// What the SDK has in the place of an id, and how its responses begin.
const (
	standIn       = '1'
	withID        = `{"jsonrpc":"2.0","id":1,`
	withoutID     = `{"jsonrpc":"2.0",`
	beforeID      = `{"jsonrpc":"2.0","id":`
	eventOfAnswer = "event: message\ndata: "
)

// standIns puts others in the place of the message's id and progress token, in its body,
// and returns the id as it was. r has the token.
func (m *message) standIns(r *http.Request) (jsontext.Value, *http.Request) {
	var id jsontext.Value
	if m.method != "" && m.id != nil && m.id.Kind() != 'n' {
		id = hide(m.id)
	}
	if m.meta == nil || !m.meta.progress {
		return id, r
	}
	o := object.Read(m.rawMeta)
	o.Enter()
	var token jsontext.Value
	for name, more := o.Next(); more; name, more = o.Next() {
		kind := o.Kind()
		if value := o.Value(); string(name) == "progressToken" && (kind == '"' || kind == '0') {
			token = value
		}
	}
	if o.Close() == nil && token != nil {
		r = r.WithContext(context.WithValue(r.Context(), tokenKey{}, hide(token)))
	}
	return id, r
}

// hide writes the stand-in over a value and returns what was there.
func hide(value jsontext.Value) jsontext.Value {
	was := bytes.Clone(value)
	value[0] = standIn
	for i := range value[1:] {
		value[1+i] = ' '
	}
	return was
}

type tokenKey struct{}

// withID writes p, which the SDK writes as a whole. If it is a response, it gets the id of
// its request.
func (w *jsonWriter) withID(p []byte) error {
	before, after := p, []byte(nil)
	if w.id != nil {
		before, after = responseIn(p)
	}
	if after == nil {
		_, err := w.ResponseWriter.Write(p)
		return err
	}
	head := make([]byte, 0, len(before)+len(beforeID)+len(w.id)+1)
	head = append(head, before...)
	head = append(head, beforeID...)
	head = append(head, w.id...)
	head = append(head, ',')
	// In one piece, unless that makes a copy of what is large: a short head is never
	// waited for.
	if len(after) <= smallPart || len(w.id) > smallID {
		head, after = append(head, after...), nil
	}
	_, err := w.ResponseWriter.Write(head)
	if err == nil && after != nil {
		_, err = w.ResponseWriter.Write(after)
	}
	return err
}

// What is small, in bytes: net/http buffers 2 KiB and more.
const (
	smallPart = 16 << 10
	smallID   = 1 << 10
)

// responseIn finds the response in what the SDK writes: what stands before it, and what
// follows its id. after is nil where there is none.
func responseIn(p []byte) (before, after []byte) {
	start := 0
	if bytes.HasPrefix(p, []byte(eventOfAnswer)) {
		start = len(eventOfAnswer)
	}
	rest, ok := bytes.CutPrefix(p[start:], []byte(withID))
	if !ok { // the SDK has not come to read the id
		rest, ok = bytes.CutPrefix(p[start:], []byte(withoutID))
	}
	if ok && (bytes.HasPrefix(rest, []byte(`"result":`)) || bytes.HasPrefix(rest, []byte(`"error":`))) {
		return p[:start], rest
	}
	return p, nil
}
