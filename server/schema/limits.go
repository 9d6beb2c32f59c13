package schema

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Limits of one schema. The largest of 1,000 operations of Stripe, Asana and DocuSign
// has 110 KB, 2,300 values, 20 levels, 430 references and an enum of 600.
const (
	maxBytes      = 1 << 20
	maxValues     = 30_000  // JSON values of any kind
	maxObjects    = 6_000   // the library's compiler is quadratic in subschemas
	maxLevels     = 128     // of nesting
	maxPointers   = 8 << 20 // bytes of the JSON pointers of all objects together
	maxIDs        = 200     // $id and $dynamicAnchor keywords
	maxElsewhere  = 60_000  // values below the targets of references outside of $defs and other keywords
	maxComposites = 100     // arrays and objects in one enum
	maxDigits     = 400     // of a number, and its largest exponent
)

// A measurement walks a schema before anything interprets it.
type measurement struct {
	values, objects, pointers, ids int
	older                          bool // some $schema is a draft before 2019-09
	refs                           map[string]bool
	err                            error
}

// measure returns the number of values in a schema, or an error that names the limit
// it exceeds.
func measure(doc any) (int, error) {
	m := &measurement{refs: make(map[string]bool)}
	m.walk(doc, 0, 0)
	if m.err == nil {
		m.elsewhere(doc)
	}
	return m.values, m.err
}

func (m *measurement) check(what string, n, limit int) {
	if n > limit && m.err == nil {
		m.err = fmt.Errorf("too many %s: more than %d", what, limit)
	}
}

func (m *measurement) walk(v any, level, pointer int) {
	m.values++
	m.check("values", m.values, maxValues)
	m.check("levels of nesting", level, maxLevels)
	if m.err != nil {
		return
	}
	switch v := v.(type) {
	case bool: // which may be a schema
		m.objects++
		m.check("objects and booleans", m.objects, maxObjects)
	case json.Number:
		if !tame(v.String()) {
			m.err = fmt.Errorf("the number %s: at most %d digits and an exponent of at most %[2]d are allowed",
				cut(v.String(), 40), maxDigits)
		}
	case []any:
		for i, item := range v {
			m.walk(item, level+1, pointer+1+len(strconv.Itoa(i)))
		}
	case map[string]any:
		m.objects++
		m.pointers += pointer
		m.check("objects and booleans", m.objects, maxObjects)
		m.check("bytes in names of nested properties", m.pointers, maxPointers)
		m.keywords(v)
		for name, value := range v {
			m.walk(value, level+1, pointer+1+len(name))
		}
	}
}

// keywords measures those that cost the compiler more than their size tells.
func (m *measurement) keywords(object map[string]any) {
	for _, name := range []string{"$ref", "$dynamicRef", "$recursiveRef"} {
		if ref, ok := object[name].(string); ok {
			m.refs[ref] = true
		}
	}
	if draft, ok := object["$schema"].(string); ok && strings.Contains(draft, "draft-0") {
		m.older = true
	}
	for _, name := range []string{"$id", "id", "$dynamicAnchor"} {
		if _, ok := object[name].(string); ok {
			m.ids++
			m.check("$id and $dynamicAnchor keywords", m.ids, maxIDs)
		}
	}
	if list, ok := object["enum"].([]any); ok {
		composites := 0
		for _, item := range list {
			switch item.(type) {
			case []any, map[string]any:
				composites++
			}
		}
		m.check("arrays and objects in one enum", composites, maxComposites)
	}
}

// tame reports whether a JSON number is cheap to compute with exactly.
func tame(number string) bool {
	mantissa, exponent := number, ""
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		mantissa, exponent = number[:i], number[i+1:]
	}
	if len(mantissa) > maxDigits {
		return false
	}
	if exponent == "" {
		return true
	}
	n, err := strconv.Atoi(strings.TrimPrefix(exponent, "+"))
	return err == nil && n >= -maxDigits && n <= maxDigits
}

// elsewhere bounds references to places that are not schemas by their keyword: the
// compiler copies its tables and validates what is there for each of them.
func (m *measurement) elsewhere(doc any) {
	total := 0
	for ref := range m.refs {
		pointer, local := strings.CutPrefix(ref, "#/")
		switch {
		case !local && strings.HasPrefix(ref, "#"): // the whole, or an anchor
		case !local:
			total += m.values // within another $id
		default:
			if target, keywords := m.follow(doc, pointer); !keywords {
				total += count(target) + m.objects/10
			}
		}
		if total > maxElsewhere {
			m.err = fmt.Errorf("too many references to places outside of $defs: they have more than %d values", maxElsewhere)
			return
		}
	}
}

// follow returns the value that a pointer refers to, and reports whether every step
// to it is a keyword that holds schemas. The value is the whole document if it
// cannot be found: it may be relative to a nested $id.
func (m *measurement) follow(doc any, pointer string) (target any, keywords bool) {
	v, found := doc, true
	keywords = true
	named := false // the next token is a name or an index below a keyword
	for token := range strings.SplitSeq(pointer, "/") {
		if plain, err := url.PathUnescape(token); err == nil {
			token = plain
		}
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		var next any
		switch parent := v.(type) {
		case map[string]any:
			next = parent[token]
		case []any:
			if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(parent) {
				next = parent[i]
			}
		}
		found = found && next != nil
		if named {
			named = false
		} else {
			_, list := next.([]any)
			named = holdsMany[token] || (token == "items" && list) || (!m.older && holdsManyNow[token])
			keywords = keywords && (named || holdsOne[token] || (!m.older && holdsOneNow[token]))
		}
		v = next
	}
	if !found || m.ids > 0 {
		return doc, keywords
	}
	return v, keywords
}

func set(names ...string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, name := range names {
		out[name] = true
	}
	return out
}

// The keywords that hold one schema or many in every draft, and since 2019-09.
var (
	holdsOne     = set("not", "items", "additionalItems", "additionalProperties")
	holdsOneNow  = set("if", "then", "else", "propertyNames", "contains", "unevaluatedItems", "unevaluatedProperties")
	holdsMany    = set("properties", "patternProperties", "definitions", "dependencies", "allOf", "anyOf", "oneOf")
	holdsManyNow = set("$defs", "dependentSchemas", "prefixItems")
)

func count(v any) int {
	n := 1
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			n += count(item)
		}
	case map[string]any:
		for _, item := range v {
			n += count(item)
		}
	}
	return n
}
