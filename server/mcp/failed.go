package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/object"
	"github.com/sangate/sangate/server/tracing"
)

// failed notes and tells of a request that the SDK has answered with an error. The
// status does not tell: it is 200 for most.
func (h *Handler) failed(r *http.Request, m *message, e *jsonrpc.Error) {
	ctx := r.Context()
	d := auth.DecisionFrom(ctx)
	code := codeOf(e.Code)
	if m.method == methodCall && d.Tools.Lookup(m.name) == nil {
		code = answer.NotFound.Code
	}
	tracing.Answered(ctx, e.Code)
	answer.Note(ctx, code, fmt.Sprintf("JSON-RPC error %d: %s", e.Code, e.Message))
	h.opts.Repeated.LogAttrs(ctx, slog.LevelInfo, "request failed", slog.String("method", m.knownMethod()), slog.Int64("code", e.Code),
		slog.String("tenant", d.Principal.TenantID), slog.String("requestId", answer.RequestID(ctx)))
}

// codeOf is the code that stands for one of JSON-RPC.
func codeOf(code int64) string {
	switch code {
	case jsonrpc.CodeMethodNotFound:
		return answer.NotFound.Code
	case 0, jsonrpc.CodeInternalError:
		return answer.Internal.Code
	}
	return answer.BadRequest("").Code
}

// errorOf returns the error of a response of JSON-RPC, or nil where it is none. The SDK
// writes each as a whole, as it is or as an event.
func errorOf(p []byte) (e *jsonrpc.Error) {
	if !bytes.Contains(p, []byte(`"error":`)) {
		return nil
	}
	if _, data, found := bytes.Cut(p, []byte("\ndata: ")); found {
		p = data
	}
	o := object.Read(p)
	o.Enter()
	for name, more := o.Next(); more; name, more = o.Next() {
		if value := o.Value(); string(name) == "error" && json.Unmarshal(value, &e) != nil {
			return nil
		}
	}
	if o.Close() != nil {
		return nil
	}
	return e
}
