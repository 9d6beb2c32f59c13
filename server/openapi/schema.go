package openapi

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// schemas turns schemas of a document into JSON Schema 2020-12 that stands alone:
// what they refer to goes into $defs.
type schemas struct {
	doc  *openapi3.T
	defs map[string]any // by name; nil while it is being made
}

func newSchemas(doc *openapi3.T) *schemas { return &schemas{doc: doc, defs: make(map[string]any)} }

// anything is a schema that says nothing.
func anything() any { return map[string]any{} }

const (
	componentRef = "#/components/schemas/"
	defRef       = "#/$defs/"
)

// of turns one schema.
func (s *schemas) of(ref *openapi3.SchemaRef) any {
	raw, err := json.Marshal(ref)
	if err != nil {
		return anything()
	}
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return anything()
	}
	return s.turn(v)
}

func (s *schemas) turn(v any) any {
	in, ok := v.(map[string]any)
	if !ok {
		if b, isBool := v.(bool); isBool {
			return b
		}
		return anything()
	}
	out := make(map[string]any, len(in))
	if ref, ok := in["$ref"].(string); ok {
		name, component := strings.CutPrefix(ref, componentRef)
		if !component || s.doc.Components == nil || s.doc.Components.Schemas[name] == nil {
			return anything() // it would lead elsewhere
		}
		if _, known := s.defs[name]; !known {
			s.defs[name] = nil
			s.defs[name] = s.of(&openapi3.SchemaRef{Value: s.doc.Components.Schemas[name].Value})
		}
		return map[string]any{"$ref": defRef + escape.Replace(name)}
	}
	for key, value := range in {
		s.keyword(out, key, value)
	}
	s.older(in, out)
	return out
}

// keyword takes over one keyword. What only describes documents is left out.
func (s *schemas) keyword(out map[string]any, key string, value any) {
	switch key {
	case "properties", "patternProperties", "dependentSchemas":
		if m, ok := value.(map[string]any); ok {
			made := make(map[string]any, len(m))
			for name, of := range m {
				made[name] = s.turn(of)
			}
			out[key] = made
		}
	case "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems", "unevaluatedProperties":
		out[key] = s.turn(value)
	case "allOf", "anyOf", "oneOf", "prefixItems":
		if list, ok := value.([]any); ok && len(list) > 0 {
			made := make([]any, len(list))
			for i, of := range list {
				made[i] = s.turn(of)
			}
			out[key] = made
		}
	case "pattern": // of ECMA-262; one that cannot be read here is not checked here
		if text, ok := value.(string); ok && len(text) <= maxText {
			if _, err := regexp.Compile(text); err == nil {
				out[key] = text
			}
		}
	case "description":
		if d, ok := value.(string); ok {
			out[key] = text(d, maxText)
		}
	case "type", "enum", "const", "default", "title", "format", "required", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
		"minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "minContains", "maxContains", "dependentRequired":
		out[key] = value
	}
}

// older turns what OpenAPI 3.0 says in its own way.
func (s *schemas) older(in, out map[string]any) {
	for key, bound := range map[string]string{"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"} {
		if exclusive, ok := in[key].(bool); ok {
			delete(out, key)
			if exclusive && out[bound] != nil {
				out[key] = out[bound]
				delete(out, bound)
			}
		}
	}
	if in["nullable"] != true {
		return
	}
	if kind, ok := in["type"].(string); ok {
		out["type"] = []any{kind, "null"}
	}
	if list, ok := out["enum"].([]any); ok {
		out["enum"] = append(list, nil)
	}
}

// How much of what arguments are is told, where all of it would be too much.
const (
	whole    = iota
	outlined // what is referred to is anything of its type
	bare     // and so is every argument
	levels
)

// complete makes a schema of an object with these properties that stands alone.
func (s *schemas) complete(properties map[string]any, level int) map[string]any {
	out := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if level == bare {
		plain := make(map[string]any, len(properties))
		for name, of := range properties {
			plain[name] = outline(s.resolved(of))
		}
		out["properties"] = plain
		return out
	}
	defs := make(map[string]any)
	s.reach(properties, level, defs)
	if len(defs) > 0 {
		out["$defs"] = defs
	}
	return out
}

// reach collects what is referred to from v.
func (s *schemas) reach(v any, level int, defs map[string]any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			s.reach(item, level, defs)
		}
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			name := unescape.Replace(strings.TrimPrefix(ref, defRef))
			if _, known := defs[name]; known {
				return
			}
			defs[name] = s.defs[name]
			if level == outlined {
				defs[name] = outline(s.defs[name])
			}
			s.reach(defs[name], level, defs)
			return
		}
		for _, of := range v {
			s.reach(of, level, defs)
		}
	}
}

// resolved is what a schema refers to, or itself.
func (s *schemas) resolved(v any) any {
	if m, ok := v.(map[string]any); ok {
		if ref, ok := m["$ref"].(string); ok {
			return s.defs[unescape.Replace(strings.TrimPrefix(ref, defRef))]
		}
	}
	return v
}

var (
	escape   = strings.NewReplacer("~", "~0", "/", "~1") // RFC 6901, section 3
	unescape = strings.NewReplacer("~1", "/", "~0", "~")
)

// outline is what is left of a schema: its type and what it says of itself.
func outline(v any) any {
	in, ok := v.(map[string]any)
	if !ok {
		return anything()
	}
	out := make(map[string]any)
	for _, key := range []string{"type", "title", "description", "enum"} {
		if in[key] != nil {
			out[key] = in[key]
		}
	}
	return out
}
