// Package shape knows at once most of the JSON that fits a plain JSON Schema.
package shape

import "slices"

// A Shape is a JSON Schema of the plain kind that most tools have: types, names
// and lists. It knows most of what fits in one pass and without allocating. What
// it does not accept need not be wrong: the schema itself has to say. A nil Shape
// accepts nothing. Safe for concurrent use.
type Shape struct {
	kinds    kinds
	props    []prop
	required uint64 // bits of props
	closed   bool   // no other names
	items    *Shape
	enum     []string // texts without escapes, sorted; nil: any
}

type prop struct {
	name string
	*Shape
}

type kinds uint8

const (
	textKind kinds = 1 << iota
	numberKind
	integerKind
	boolKind
	nullKind
	objectKind
	arrayKind
	anyKind = textKind | numberKind | integerKind | boolKind | nullKind | objectKind | arrayKind
)

var kindsOf = map[string]kinds{"string": textKind, "number": numberKind | integerKind, "integer": integerKind,
	"boolean": boolKind, "null": nullKind, "object": objectKind, "array": arrayKind}

// Bounds of a shape; what is beyond them, the schema is asked about.
const (
	maxProps = 64
	maxDepth = 32
)

// Of returns the shape of a JSON Schema (2020-12) as encoding/json decodes it, or
// nil where the schema says something that a shape does not know.
func Of(schema any) *Shape { return of(schema, 0) }

func of(schema any, depth int) *Shape {
	if depth > maxDepth {
		return nil
	}
	switch schema {
	case true:
		return &Shape{kinds: anyKind}
	case false:
		return &Shape{}
	}
	m, ok := schema.(map[string]any)
	if !ok {
		return nil
	}
	s := &Shape{kinds: anyKind}
	var required []any
	for name, value := range m {
		ok := true
		switch name {
		case "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "format":
		case "$schema":
			ok = value == "https://json-schema.org/draft/2020-12/schema" // older ones hold formats against a value
		case "type":
			s.kinds, ok = kindsIn(value)
		case "properties":
			ok = s.properties(value, depth)
		case "required":
			required, ok = value.([]any)
		case "additionalProperties":
			ok = value == true || value == false || isEmpty(value)
			s.closed = value == false
		case "items":
			s.items = of(value, depth+1)
			ok = s.items != nil
		case "enum":
			ok = s.texts(value)
		default:
			ok = false
		}
		if !ok {
			return nil
		}
	}
	for _, name := range required {
		i := slices.IndexFunc(s.props, func(p prop) bool { return p.name == name })
		if i < 0 {
			return nil
		}
		s.required |= 1 << i
	}
	return s
}

func isEmpty(schema any) bool {
	m, ok := schema.(map[string]any)
	return ok && len(m) == 0
}

func kindsIn(value any) (out kinds, ok bool) {
	list, many := value.([]any)
	if !many {
		list = []any{value}
	}
	for _, one := range list {
		name, _ := one.(string)
		k, known := kindsOf[name]
		if !known {
			return 0, false
		}
		out |= k
	}
	return out, true
}

func (s *Shape) properties(value any, depth int) bool {
	m, ok := value.(map[string]any)
	if !ok || len(m) > maxProps {
		return false
	}
	for name, schema := range m {
		p := of(schema, depth+1)
		if p == nil {
			return false
		}
		s.props = append(s.props, prop{name, p})
	}
	slices.SortFunc(s.props, func(a, b prop) int { return len(a.name) - len(b.name) })
	return true
}

// texts takes an enumeration of texts, which has no other kind fit.
func (s *Shape) texts(value any) bool {
	list, ok := value.([]any)
	for _, one := range list {
		text, is := one.(string)
		if !is {
			return false
		}
		s.enum = append(s.enum, text)
	}
	slices.Sort(s.enum)
	return ok && len(list) > 0
}
