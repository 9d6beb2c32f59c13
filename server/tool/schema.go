package tool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/sangate/sangate/server/shape"
)

// maxProblems bounds what is told of one set of arguments.
const maxProblems = 20

// A schema is a compiled JSON Schema of type object.
type schema struct {
	compiled *jsonschema.Schema
	shape    *shape.Shape // what is known at once to fit; nil where the schema is not so plain
}

// refuseLoader keeps a schema from fetching others: every $ref must be its own.
type refuseLoader struct{}

func (refuseLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to %s: only references within the schema are followed", url)
}

func compileSchema(raw json.RawMessage) (*schema, error) {
	var head struct {
		Type any `json:"type"`
	}
	if err := jsonv2.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if head.Type != "object" {
		return nil, errors.New(`its "type" must be "object"`)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(refuseLoader{})
	if err := c.AddResource("mem:///schema", doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile("mem:///schema")
	if err != nil {
		return nil, err
	}
	return &schema{compiled, shape.Of(doc)}, nil
}

// check validates one JSON value; duplicate names and invalid UTF-8 are refused
// on the way. It returns [*InvalidArguments].
func (s *schema) check(raw json.RawMessage) error {
	if s.shape.Accepts(raw) {
		return nil
	}
	var value any
	if err := jsonv2.Unmarshal(raw, &value); err != nil {
		return &InvalidArguments{[]Problem{{Message: "not valid JSON"}}}
	}
	err := s.compiled.Validate(value)
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return err
	}
	out := &InvalidArguments{}
	collect(invalid, message.NewPrinter(language.English), out)
	return out
}

// collect gathers the innermost causes, which say what is wrong and where.
func collect(e *jsonschema.ValidationError, p *message.Printer, out *InvalidArguments) {
	for _, cause := range e.Causes {
		collect(cause, p, out)
	}
	if len(e.Causes) == 0 && len(out.Problems) < maxProblems {
		out.Problems = append(out.Problems, Problem{
			Pointer: pointer(e.InstanceLocation),
			Message: e.ErrorKind.LocalizedString(p),
		})
	}
}

func pointer(path []string) string {
	var b strings.Builder
	for _, part := range path {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
	}
	return b.String()
}
