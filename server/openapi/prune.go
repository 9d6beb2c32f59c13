package openapi

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// operations are the keys of a path item that hold one.
var operations = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace", "connect", "query"}

// unused are the parts of an operation that nothing is made of.
var unused = []string{"responses", "callbacks", "externalDocs"}

// operationName returns an operation's id, or what stands in for it.
func operationName(id, method, at string) string {
	if id != "" {
		return id
	}
	return strings.ToLower(method) + strings.NewReplacer("{", "", "}", "").Replace(at)
}

// prune returns the parts of a document that the chosen operations need: the OpenAPI
// library spends about 2 KB on each object that it sees. Where a reference leads
// elsewhere than to a component, it returns the whole document.
func prune(root map[string]any, chosen func(id string, tags []string) bool) map[string]any {
	out := make(map[string]any)
	for _, key := range []string{"openapi", "info", "servers", "security"} {
		if v, ok := root[key]; ok {
			out[key] = v
		}
	}
	paths, ok := root["paths"].(map[string]any)
	if !ok {
		return root
	}
	kept := make(map[string]any)
	for at, item := range paths {
		if item, keep := pruneItem(at, item, chosen); keep {
			kept[at] = item
		}
	}
	out["paths"] = kept
	components, _ := root["components"].(map[string]any)
	r := reached{from: components, kept: make(map[string]any)}
	if schemes, ok := components["securitySchemes"]; ok {
		r.kept["securitySchemes"] = schemes
	}
	if !r.mark(out) {
		return root
	}
	out["components"] = r.kept
	return out
}

func pruneItem(at string, item any, chosen func(id string, tags []string) bool) (any, bool) {
	in, ok := item.(map[string]any)
	if !ok || in["$ref"] != nil || in["additionalOperations"] != nil {
		return item, true // the library reports it, or follows it
	}
	out := maps.Clone(in)
	some := false
	for _, method := range operations {
		op, ok := in[method].(map[string]any)
		if !ok {
			continue
		}
		if !chosen(operationName(textOf(op["operationId"]), method, at), tagsOf(op["tags"])) {
			delete(out, method)
			continue
		}
		op, some = maps.Clone(op), true
		for _, key := range unused {
			delete(op, key)
		}
		out[method] = op
	}
	return out, some
}

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

func tagsOf(v any) (tags []string) {
	list, _ := v.([]any)
	for _, tag := range list {
		tags = append(tags, textOf(tag))
	}
	return tags
}

// reached collects the components that references lead to.
type reached struct {
	from, kept map[string]any // by kind
	todo       []any          // kept, and not yet looked through
}

const components = "#/components/"

// mark keeps what v refers to, and what that refers to. It reports false for a
// reference that it does not understand.
func (r *reached) mark(v any) bool {
	r.todo = append(r.todo, v)
	for len(r.todo) > 0 { // a chain of references may be longer than the stack
		last := len(r.todo) - 1
		v, r.todo = r.todo[last], r.todo[:last]
		if !r.through(v) {
			return false
		}
	}
	return true
}

func (r *reached) through(v any) bool {
	switch v := v.(type) {
	case []any:
		return !slices.ContainsFunc(v, func(of any) bool { return !r.through(of) })
	case map[string]any:
		if ref := textOf(v["$ref"]); strings.HasPrefix(ref, "#") && !strings.HasPrefix(ref, components) {
			return false
		}
		for _, of := range v {
			if !r.through(of) {
				return false
			}
		}
	case string: // the mapping of a discriminator refers without $ref
		if name, ok := strings.CutPrefix(v, components); ok {
			r.keep(name)
		}
	}
	return true
}

// keep keeps a component. One that is not there is reported by the library.
func (r *reached) keep(pointer string) {
	kind, rest, _ := strings.Cut(pointer, "/")
	name, _, _ := strings.Cut(rest, "/")
	name = unescape.Replace(name)
	of, _ := r.from[kind].(map[string]any)
	v, ok := of[name]
	if !ok {
		if decoded, err := url.PathUnescape(name); err == nil {
			name = decoded
			v, ok = of[name]
		}
	}
	if !ok {
		return
	}
	kept, _ := r.kept[kind].(map[string]any)
	if kept == nil {
		kept = make(map[string]any)
		r.kept[kind] = kept
	}
	if _, done := kept[name]; !done {
		kept[name] = v
		r.todo = append(r.todo, v)
	}
}
