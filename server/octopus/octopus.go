// Package octopus is the REST dialect of Octopus agents: GET /tools and
// POST /tool/{name}/call (contract, section 2). It parses and encodes, and
// decides nothing: the decision comes with the request, the policy on a tool
// from the caller of this package.
package octopus

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/object"
	"github.com/sangate/sangate/server/tool"
)

// A Handler serves the dialect. Its fields must be set.
type Handler struct {
	// Admit applies the policy to a call of a tool and records the final
	// decision; name is "" where no tool is called. args are needed where the
	// decision looks at them, nil where they cannot be read.
	Admit func(r *http.Request, name string, args []byte) *auth.Decision
	// Run calls the tool, timed, counted and logged.
	Run     func(ctx context.Context, t *tool.Tool, call *tool.Call) (*tool.Result, error)
	MaxBody int64 // bytes
}

// List answers GET /tools.
func (h *Handler) List(w http.ResponseWriter, r *http.Request) {
	d := h.Admit(r, "", nil)
	if !d.OK() {
		answer.Fail(w, r, answer.Refusal(d, true))
		return
	}
	w.Header().Set("Cache-Control", "private, no-cache")
	answer.JSON(w, http.StatusOK, d.Tools.JSON())
}

// CallPattern is the path of a call.
const CallPattern = "/tool/{name}/call"

// ToolName returns the name in a path of [CallPattern].
func ToolName(path string) (name string, ok bool) {
	name, ok = strings.CutPrefix(path, "/tool/")
	if ok {
		name, ok = strings.CutSuffix(name, "/call")
	}
	return name, ok && name != "" && !strings.Contains(name, "/")
}

// Call answers POST /tool/{name}/call.
func (h *Handler) Call(w http.ResponseWriter, r *http.Request, name string) {
	var args []byte
	var err error
	early := auth.DecisionFrom(r.Context()).LooksAtArguments()
	if early {
		args, err = h.arguments(w, r)
	}
	d := h.Admit(r, name, args)
	if !d.OK() {
		answer.Fail(w, r, answer.Refusal(d, true))
		return
	}
	t := d.Tools.Lookup(name)
	if t == nil {
		answer.Fail(w, r, answer.NotFound)
		return
	}
	if !early {
		args, err = h.arguments(w, r)
	}
	if err != nil {
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

// arguments reads the body and takes the arguments out of it.
func (h *Handler) arguments(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := answer.Body(w, r, h.MaxBody)
	if err != nil {
		return nil, err
	}
	return arguments(body)
}

// arguments are the member of that name, or where there is none the whole.
func arguments(body []byte) ([]byte, error) {
	if len(body) == 0 {
		return []byte("{}"), nil
	}
	var args jsontext.Value
	o := object.Read(body)
	o.Enter()
	for name, ok := o.Next(); ok; name, ok = o.Next() {
		value := o.Value()
		if string(name) == "arguments" {
			args = value
		}
	}
	if err := o.Close(); err != nil {
		return nil, badBody()
	}
	switch args.Kind() {
	case 0: // no such member
		return body, nil
	case '{':
		return args, nil
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
		body := make([]byte, 0, len(res.Content)+12)
		body = append(append(append(body, `{"content":`...), res.Content...), '}')
		answer.JSON(w, http.StatusOK, body)
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
	if needs, ok := errors.AsType[*tool.NeedsCapability](err); ok {
		e := toolError(needs.Error())
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
