package mcp

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/shape"
	"github.com/sangate/sangate/server/tool"
)

// A reply is a JSON-RPC response that is written as it goes over the wire.
type reply struct{ buf []byte }

var replies = sync.Pool{New: func() any { return &reply{buf: make([]byte, 0, 4<<10)} }}

// maxReply bounds what is kept for the next one, in bytes.
const maxReply = 64 << 10

func begin(id jsontext.Value) *reply {
	b := replies.Get().(*reply)
	b.start(id)
	b.text(`,"result":`)
	return b
}

func (b *reply) start(id jsontext.Value) {
	b.buf = append(b.buf[:0], `{"jsonrpc":"2.0","id":`...)
	b.add(id)
}

func (b *reply) free() {
	if cap(b.buf) <= maxReply {
		replies.Put(b)
	}
}

func (b *reply) add(raw []byte)   { b.buf = append(b.buf, raw...) }
func (b *reply) text(text string) { b.buf = append(b.buf, text...) }

// textContent is content that needs no look by the SDK.
var textContent = shape.Of(map[string]any{"type": "array", "items": map[string]any{"type": "object", "additionalProperties": false,
	"required":   []any{"type", "text"},
	"properties": map[string]any{"type": map[string]any{"enum": []any{"text"}}, "text": map[string]any{"type": "string"}}}})

// result writes the result of a tool. The content has the structured result as
// text where there is no other, as older revisions want it.
func (b *reply) result(res *tool.Result, identity string, stateless bool) error {
	b.open(identity, stateless)
	var err error
	switch {
	case res.Content == nil:
		b.text(`[{"type":"text","text":`)
		if b.buf, err = jsontext.AppendQuote(b.buf, res.Structured); err != nil {
			return err
		}
		b.text(`}]`)
	case textContent.Accepts(res.Content):
		b.add(res.Content)
	default:
		out, err := encode(res)
		if err != nil {
			return err
		}
		content, err := json.Marshal(out.Content)
		if err != nil {
			return err
		}
		b.add(content)
	}
	if res.Structured != nil {
		b.text(`,"structuredContent":`)
		b.add(res.Structured)
	}
	b.close(res.IsError, stateless)
	return nil
}

// told writes what a model is told in the place of a result.
func (b *reply) told(res *sdk.CallToolResult, identity string, stateless bool) error {
	content, err := json.Marshal(res.Content)
	if err != nil {
		return err
	}
	b.open(identity, stateless)
	b.add(content)
	b.close(res.IsError, stateless)
	return nil
}

func (b *reply) open(identity string, stateless bool) {
	b.text(`{`)
	if stateless {
		b.text(`"_meta":`)
		b.text(identity)
		b.text(`,`)
	}
	b.text(`"content":`)
}

func (b *reply) close(isError, stateless bool) {
	if isError {
		b.text(`,"isError":true`)
	}
	if stateless {
		b.text(`,"resultType":"complete"`)
	}
	b.text(`}`)
}

// failed has the reply be the gate's own failure, of which the peer learns
// nothing.
func (b *reply) failed(id jsontext.Value) {
	b.start(id)
	b.text(`,"error":{"code":0,"message":`)
	b.text(strconv.Quote(answer.Internal.Message))
	b.text(`}`)
}

// noCache is what the SDK says of every answer.
var noCache = []string{"no-cache, no-transform"}

// send writes the answer.
func (b *reply) send(w http.ResponseWriter) {
	b.text(`}`)
	w.Header()["Cache-Control"] = noCache
	answer.JSON(w, http.StatusOK, b.buf)
}
