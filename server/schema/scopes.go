package schema

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// findScopes finds the resources of a schema with dynamic references: the whole and
// each object with an $id, with the dynamic anchors in them.
func (k *converter) findScopes() {
	if !hasDynamic(k.doc) {
		return
	}
	var at []string // locations of the whole and of objects with $id or $dynamicAnchor
	var walk func(v any, location string)
	walk = func(v any, location string) {
		switch v := v.(type) {
		case map[string]any:
			_, id := v["$id"].(string)
			_, anchor := v["$dynamicAnchor"].(string)
			if id || anchor || len(at) == 0 {
				at = append(at, location)
			}
			for name, value := range v {
				token := strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
				walk(value, location+"/"+url.PathEscape(token))
			}
		case []any:
			for i, value := range v {
				walk(value, location+"/"+strconv.Itoa(i))
			}
		}
	}
	walk(k.doc, location+"#")
	var found []*jsonschema.Schema
	for _, l := range at {
		s, err := k.compiler.Compile(l)
		if err != nil {
			continue // an example or a default that looks like a schema
		}
		found = append(found, s)
		if len(found) == 1 || s.ID != "" {
			k.scopes = append(k.scopes, &scope{location: s.Location, anchors: make(map[string]*node)})
		}
	}
	for i, s := range found {
		n := k.node(s)
		if i == 0 || s.ID != "" {
			n.scope.root, n.scope.recursive = n, s.RecursiveAnchor
		}
		if s.DynamicAnchor != "" {
			n.scope.anchors[s.DynamicAnchor] = n
		}
	}
}

// hasDynamic reports whether a schema has dynamic references.
func hasDynamic(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if v["$dynamicRef"] != nil || v["$recursiveRef"] != nil {
			return true
		}
		for _, value := range v {
			if hasDynamic(value) {
				return true
			}
		}
	case []any:
		for _, value := range v {
			if hasDynamic(value) {
				return true
			}
		}
	}
	return false
}

// scopeOf returns the innermost scope that a subschema is in.
func (k *converter) scopeOf(s *jsonschema.Schema) *scope {
	var in *scope
	for _, candidate := range k.scopes {
		inside := s.Location == candidate.location || strings.HasPrefix(s.Location, candidate.location+"/")
		if inside && (in == nil || len(candidate.location) > len(in.location)) {
			in = candidate
		}
	}
	return in
}

// A dynamicScope is the resources that a check has entered, the innermost first.
type dynamicScope struct {
	*scope
	parent *dynamicScope
}

// enter returns the dynamic scope inside n.
func (d *dynamicScope) enter(n *node) *dynamicScope {
	if n.scope == nil || (d != nil && d.scope == n.scope) {
		return d
	}
	return &dynamicScope{n.scope, d}
}

// resolve returns the target of a dynamic reference: that of the outermost scope with
// such an anchor.
func (d *dynamicScope) resolve(target *node, matches func(*scope) *node) *node {
	for ; d != nil; d = d.parent {
		if found := matches(d.scope); found != nil {
			target = found
		}
	}
	return target
}
