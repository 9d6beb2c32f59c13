// Package schema compiles JSON Schemas that strangers wrote and checks JSON against
// them within bounds.
//
// A schema is measured before the JSON Schema library sees it, so that compiling is
// cheap, and converted into nodes of this package. Checking walks those nodes: each
// step is charged to a budget that grows with the instance, and the walk ends when
// the budget is spent or the context ends. References out of the schema are refused.
package schema

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sangate/sangate/server/shape"
)

// A Schema is a compiled JSON Schema of type object. Safe for concurrent use.
type Schema struct {
	root   *node
	values int
	shape  *shape.Shape // accepts most of what fits in one pass; nil if the schema is too complex
}

// Values returns the number of JSON values in the schema, and of instructions of its
// patterns divided by 8: a measure of the memory it takes.
func (s *Schema) Values() int { return s.values }

// A Problem is one thing wrong with an instance.
type Problem struct {
	Pointer string `json:"pointer"` // RFC 6901, "" for the whole
	Message string `json:"message"`
}

// An Invalid reports that an instance does not fit a schema.
type Invalid struct{ Problems []Problem }

func (e *Invalid) Error() string {
	if len(e.Problems) == 0 {
		return "invalid"
	}
	return fmt.Sprintf("at %q: %s", e.Problems[0].Pointer, e.Problems[0].Message)
}

// location is the address of the schema inside the library's compiler.
const location = "mem:///schema"

// noLoader refuses every document but the schema itself.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to %s: only references within the schema are followed", cut(url, maxMessage))
}

// Compile compiles a JSON Schema, or returns an error that names the limit it
// exceeds. A panic of the library is returned as an error.
func Compile(raw json.RawMessage) (s *Schema, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("the schema compiler panicked: %s", cut(fmt.Sprint(p), maxMessage))
		}
	}()
	if len(raw) > maxBytes {
		return nil, fmt.Errorf("%d bytes; at most %d are allowed", len(raw), maxBytes)
	}
	var head struct {
		Type any `json:"type"`
	}
	if err := jsonv2.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("not a JSON object: %s", cut(err.Error(), maxMessage))
	}
	if head.Type != "object" {
		return nil, errors.New(`its "type" must be "object"`)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, errors.New(cut(err.Error(), maxMessage))
	}
	size, err := measure(doc)
	if err != nil {
		return nil, err
	}
	root, instructions, err := compile(doc)
	if err != nil {
		return nil, err
	}
	return &Schema{root, size + instructions/8, shape.Of(doc)}, nil
}

func compile(doc any) (root *node, instructions int, err error) {
	patterns := newPatterns()
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(patterns.compile)
	if err := c.AddResource(location, doc); err != nil {
		return nil, 0, errors.New(cut(err.Error(), maxMessage))
	}
	compiled, err := c.Compile(location)
	if err != nil {
		return nil, 0, errors.New(cut(err.Error(), maxMessage))
	}
	k := &converter{compiler: c, doc: doc, nodes: make(map[*jsonschema.Schema]*node)}
	k.findScopes()
	root = k.node(compiled)
	if err := k.countPaths(); err != nil {
		return nil, 0, err
	}
	return root, patterns.instructions, nil
}

// Check checks one JSON value. Duplicate names and invalid UTF-8 are refused. It
// returns [*Invalid] if the value does not fit or is too costly to check, or the
// error of ctx if that ends first.
func (s *Schema) Check(ctx context.Context, raw json.RawMessage) error {
	if s.shape.Accepts(raw) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var value any
	if err := jsonv2.Unmarshal(raw, &value); err != nil {
		return &Invalid{[]Problem{{Message: "not valid JSON"}}}
	}
	problems, err := s.root.run(ctx, value, budget(len(raw)))
	if err != nil || problems == nil {
		return err
	}
	return report(problems)
}
