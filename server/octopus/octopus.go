// Package octopus is the REST dialect of Octopus agents: GET /tools and
// POST /tool/{name}/call (contract, section 2). It parses and encodes, and
// decides nothing: the decision comes with the request, the policy on a tool
// from the caller of this package.
package octopus

import (
	"context"
	"errors"
	"net/http"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tool"
)

// A Handler serves the dialect. Its fields must be set.
type Handler struct {
	// Admit applies the policy to a call of a tool and records the final
	// decision; name is "" where no tool is called. args returns the arguments,
	// nil where they cannot be read.
	Admit func(r *http.Request, name string, args func() []byte) auth.Decision
	// Run calls the tool, timed, counted and logged.
	Run     func(ctx context.Context, t *tool.Tool, call *tool.Call) (*tool.Result, error)
	MaxBody int64 // bytes
}

// List answers GET /tools.
func (h *Handler) List(w http.ResponseWriter, r *http.Request) {
	d := h.Admit(r, "", nil)
	if !d.OK() {
		answer.Fail(w, r, answer.Refusal(&d, true))
		return
	}
	w.Header().Set("Cache-Control", "private, no-cache")
	answer.JSON(w, http.StatusOK, d.Tools.JSON())
}

// Call answers POST /tool/{name}/call.
func (h *Handler) Call(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	var args []byte
	var err error
	read := sync.OnceFunc(func() {
		var body []byte
		if body, err = answer.Body(w, r, h.MaxBody); err == nil {
			args, err = arguments(body)
		}
	})
	d := h.Admit(r, name, func() []byte { read(); return args })
	if !d.OK() {
		answer.Fail(w, r, answer.Refusal(&d, true))
		return
	}
	t := d.Tools.Lookup(name)
	if t == nil {
		answer.Fail(w, r, answer.NotFound)
		return
	}
	if read(); err != nil {
		answer.FailWith(w, r, err)
		return
	}
	res, err := h.Run(r.Context(), t, &tool.Call{Caller: d.Caller(), Arguments: args})
	if err != nil {
		answer.FailWith(w, r, Failure(err))
		return
	}
	respond(w, r, res)
}

// arguments takes the arguments out of a body: the member of that name, or
// where there is none the whole.
func arguments(body []byte) ([]byte, error) {
	if len(body) == 0 {
		return []byte("{}"), nil
	}
	var envelope struct {
		Arguments jsontext.Value `json:"arguments"`
	}
	if kind := jsontext.Value(body).Kind(); kind != '{' {
		return nil, badBody()
	}
	if err := jsonv2.Unmarshal(body, &envelope); err != nil {
		return nil, badBody()
	}
	switch envelope.Arguments.Kind() {
	case 0: // no such member
		return body, nil
	case '{':
		return envelope.Arguments, nil
	}
	return nil, badBody()
}

func badBody() error {
	e := answer.BadRequest(`Send a JSON object: {"arguments":{…}} or the arguments themselves, each name once.`)
	return &e
}

// respond writes the structured result, or the content where there is none.
func respond(w http.ResponseWriter, r *http.Request, res *tool.Result) {
	switch {
	case res.IsError:
		answer.Fail(w, r, toolError(res.Text()))
	case res.Structured != nil:
		answer.JSON(w, http.StatusOK, res.Structured)
	default:
		body := append([]byte(`{"content":`), res.Content...)
		answer.JSON(w, http.StatusOK, append(body, '}'))
	}
}

func toolError(message string) answer.Error {
	return answer.Error{Status: http.StatusUnprocessableEntity, Code: "tool_error", Message: message}
}

// Failure is what the peer is told of an error of Run.
func Failure(err error) error {
	if refused, ok := errors.AsType[*answer.Error](err); ok {
		return refused
	}
	if invalid, ok := errors.AsType[*tool.InvalidArguments](err); ok {
		return &answer.Error{Status: http.StatusBadRequest, Code: "invalid_arguments",
			Message: "The arguments do not fit the tool's input schema.", Details: invalid.Problems}
	}
	if failed, ok := errors.AsType[*tool.Failure](err); ok {
		e := toolError(failed.Message)
		return &e
	}
	if upstream, ok := errors.AsType[*tool.UpstreamError](err); ok {
		e := answer.Upstream(upstream)
		return &e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &answer.Timeout
	}
	return &answer.Internal
}
