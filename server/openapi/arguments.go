package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	jsonv2 "github.com/go-json-experiment/json"

	"github.com/sangate/sangate/server/httptool"
)

// arguments are those of one tool.
type arguments struct {
	schemas    *schemas
	properties map[string]any
	required   []string
	path       string // with expressions in the place of its parameters
}

func newArguments(doc *openapi3.T) *arguments {
	return &arguments{schemas: newSchemas(doc), properties: make(map[string]any)}
}

// add takes the parameters of an operation in, those of its path first.
func (a *arguments) add(def *httptool.Definition, at string, shared, own openapi3.Parameters) error {
	byPlace := make(map[string]*openapi3.Parameter)
	var order []string
	for _, ref := range slices.Concat(shared, own) {
		p := ref.Value
		if p == nil {
			return errors.New("a parameter that cannot be read")
		}
		key := p.In + " " + p.Name
		if _, ok := byPlace[key]; !ok {
			order = append(order, key)
		}
		byPlace[key] = p
	}
	if len(order) > maxParameters {
		return fmt.Errorf("more than %d parameters", maxParameters)
	}
	if strings.Contains(at, written) { // what is in its braces would be taken for one of ours
		return errors.New("its path has a control character")
	}
	a.path = at
	for _, key := range order {
		if err := a.parameter(def, byPlace[key]); err != nil {
			return err
		}
	}
	for _, part := range placeholder.FindAllString(a.path, -1) {
		if !strings.HasPrefix(part, "{"+written) {
			return fmt.Errorf("nothing says what %s in its path is", part)
		}
	}
	a.path = strings.ReplaceAll(a.path, "{"+written, "{")
	return nil
}

// written marks the expressions in a path from the placeholders that were there.
const written = "\x00"

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

func (a *arguments) parameter(def *httptool.Definition, p *openapi3.Parameter) error {
	unusable := func(why string) error {
		if !p.Required {
			return nil // left out
		}
		return fmt.Errorf("parameter %q: %s", p.Name, why)
	}
	schema := p.Schema
	if schema == nil || schema.Value == nil {
		return unusable("it has no schema")
	}
	kind := kindOf(schema.Value)
	switch p.In {
	case "path":
		name := a.name(p.Name, "path")
		if kind == "object" {
			return unusable("an object in a path")
		}
		a.argument(name, p, schema, true)
		a.path = strings.ReplaceAll(a.path, "{"+p.Name+"}", "{"+written+asText("args."+name, schema.Value, ",")+"}")
	case "query":
		if kind == "object" {
			return a.deep(def, p, unusable)
		}
		name := a.name(p.Name, "query")
		a.argument(name, p, schema, p.Required)
		value := "args.?" + name
		if p.Required {
			value = "args." + name
		}
		if separator := separated(p); kind == "array" && separator != "" {
			value = asText("args."+name, schema.Value, separator)
			if !p.Required {
				value = fmt.Sprintf("has(args.%s) ? dyn(%s) : null", name, value)
			}
		}
		def.Request.Query[p.Name] = value
	case "header":
		switch http.CanonicalHeaderKey(p.Name) {
		case "Accept", "Content-Type", "Authorization": // as OpenAPI has it, these say nothing
			return nil
		}
		if kind == "object" {
			return unusable("an object in a header")
		}
		name := a.name(p.Name, "header")
		a.argument(name, p, schema, p.Required)
		value := asText("args."+name, schema.Value, ",")
		if !p.Required {
			value = fmt.Sprintf("has(args.%s) ? dyn(%s) : null", name, value)
		}
		def.Request.Headers[p.Name] = value
	default:
		return unusable("it stands in a " + p.In)
	}
	return nil
}

// deep takes an object in the query in the one style there is for it that servers
// agree on: name[field]=value.
func (a *arguments) deep(def *httptool.Definition, p *openapi3.Parameter, unusable func(string) error) error {
	schema := p.Schema.Value
	if p.Style != "deepObject" || len(schema.Properties) == 0 {
		return unusable("an object in the query, of style " + p.Style)
	}
	name := a.name(p.Name, "query")
	for field, of := range schema.Properties {
		if of.Value == nil || kindOf(of.Value) == "object" || !identifier.MatchString(field) || slices.Contains(reserved, field) {
			return unusable("an object within an object in the query")
		}
	}
	a.argument(name, p, p.Schema, p.Required)
	for field := range schema.Properties {
		def.Request.Query[p.Name+"["+field+"]"] = "args.?" + name + ".?" + field
	}
	return nil
}

// separated is what stands between the items of an array in the query; "" where
// each is sent by itself.
func separated(p *openapi3.Parameter) string {
	if p.Explode == nil || *p.Explode {
		if p.Style == "" || p.Style == "form" {
			return ""
		}
	}
	switch p.Style {
	case "spaceDelimited":
		return " "
	case "pipeDelimited":
		return "|"
	}
	return ","
}

// asText is an expression for a value in a path or a header.
func asText(value string, s *openapi3.Schema, separator string) string {
	switch kindOf(s) {
	case "string":
		return value
	case "array":
		return fmt.Sprintf("%s.map(i, string(i)).join(%s)", value, strconv.Quote(separator))
	case "integer", "number", "boolean":
		return "string(" + value + ")"
	}
	return value
}

// kindOf is the one type a schema has, or "".
func kindOf(s *openapi3.Schema) string {
	if s.Type != nil && len(*s.Type) == 1 {
		return (*s.Type)[0]
	}
	if s.Type == nil && len(s.Properties) > 0 {
		return "object"
	}
	return ""
}

func (a *arguments) argument(name string, p *openapi3.Parameter, schema *openapi3.SchemaRef, required bool) {
	s := a.schemas.of(schema)
	if m, ok := s.(map[string]any); ok && m["description"] == nil && p.Description != "" {
		m["description"] = text(p.Description, maxText)
	}
	a.properties[name] = s
	if required {
		a.required = append(a.required, name)
	}
}

var (
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	noLetter   = regexp.MustCompile(`[^A-Za-z0-9_]+`)
	// reserved are words that CEL does not take as a name.
	reserved = []string{"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop", "package", "namespace", "null", "return", "true", "var", "void", "while"}
)

// name is what an argument is called for a parameter, once.
func (a *arguments) name(parameter, in string) string {
	name := strings.Trim(noLetter.ReplaceAllString(parameter, "_"), "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' || slices.Contains(reserved, name) || name == "body" {
		name = "p_" + name
	}
	if _, taken := a.properties[name]; taken {
		name += "_" + in
	}
	for base, n := name, 2; ; n++ {
		if _, taken := a.properties[name]; !taken {
			return name
		}
		name = fmt.Sprintf("%s_%d", base, n)
	}
}

// bodyTypes are those that are sent, the best first.
var bodyTypes = []struct{ media, kind string }{{"application/json", "json"}, {"application/x-www-form-urlencoded", "form"}, {"text/plain", "text"}}

func (a *arguments) body(def *httptool.Definition, ref *openapi3.RequestBodyRef) error {
	if ref == nil || ref.Value == nil || len(ref.Value.Content) == 0 || def.Request.Method == http.MethodGet || def.Request.Method == http.MethodHead {
		return nil // with these, a body means nothing (RFC 9110, 9.3.1)
	}
	for _, t := range bodyTypes {
		for media, content := range ref.Value.Content {
			kind, _, err := mime.ParseMediaType(media)
			json := t.kind == "json" && strings.HasSuffix(kind, "+json")
			if err != nil || (kind != t.media && !json) || content == nil || content.Schema == nil {
				continue
			}
			a.properties["body"] = a.schemas.of(content.Schema)
			def.Request.Body, def.Request.BodyType = "args.body", t.kind
			switch {
			case ref.Value.Required || t.kind == "text":
				a.required = append(a.required, "body")
			case t.kind == "form":
				def.Request.Body = "has(args.body) ? dyn(args.body) : {}"
			default:
				def.Request.Body = "has(args.body) ? dyn(args.body) : null"
			}
			if t.kind == "form" && ref.Value.Required {
				def.Request.Body = "dyn(args.body)"
			}
			if t.kind == "json" && json {
				def.Request.Headers["Content-Type"] = strconv.Quote(kind)
			}
			return nil
		}
	}
	if !ref.Value.Required {
		return nil
	}
	return errors.New("its body is neither JSON nor a form nor text")
}

// schema is that of the arguments as a whole.
func (a *arguments) schema() (json.RawMessage, error) {
	slices.Sort(a.required)
	for level := range levels {
		out := a.schemas.complete(a.properties, level)
		if len(a.required) > 0 {
			out["required"] = a.required
		}
		text, err := jsonv2.Marshal(out, jsonv2.Deterministic(true))
		if err != nil {
			return nil, err
		}
		if len(text) <= maxSchema {
			return json.RawMessage(text), nil
		}
	}
	return nil, fmt.Errorf("the schema of its arguments is larger than %d bytes", maxSchema)
}
