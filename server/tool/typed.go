package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/google/jsonschema-go/jsonschema"
)

// New makes a tool of a Go function. The schemas are taken from In and Out,
// which must be structs (field names by `json`, descriptions by `jsonschema`
// tags); arguments are decoded into In, the answer is encoded from Out. fn has
// its caller from [CallerFrom] and tells its [Progress]; ctx ends when the caller
// has gone, may go on no longer, or the time for it is over.
func New[In, Out any](name, description string, fn func(ctx context.Context, in In) (Out, error)) (*Tool, error) {
	input, err := schemaFor[In]()
	if err != nil {
		return nil, fmt.Errorf("tool %s: input: %w", name, err)
	}
	output, err := schemaFor[Out]()
	if err != nil {
		return nil, fmt.Errorf("tool %s: output: %w", name, err)
	}
	t := &Tool{Name: name, Description: description, InputSchema: input, OutputSchema: output}
	t.Handler = func(ctx context.Context, call *Call) (*Result, error) {
		var in In
		if err := jsonv2.Unmarshal(call.Arguments, &in); err != nil {
			p := Problem{Message: "does not fit the tool's type"}
			if at, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
				p.Pointer = string(at.JSONPointer)
			}
			return nil, &InvalidArguments{[]Problem{p}}
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		structured, err := jsonv2.Marshal(out)
		if err != nil {
			return nil, fmt.Errorf("tool %s: encoding its answer: %w", name, err)
		}
		return &Result{Structured: structured}, nil
	}
	return t, t.Compile()
}

func schemaFor[T any]() (json.RawMessage, error) {
	s, err := jsonschema.For[T](nil)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}
