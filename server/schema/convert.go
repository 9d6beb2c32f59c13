package schema

import (
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A converter makes nodes of what the library compiled.
type converter struct {
	compiler *jsonschema.Compiler
	doc      any
	scopes   []*scope // by location, the innermost last; nil without dynamic references
	nodes    map[*jsonschema.Schema]*node
}

// node returns the node of a compiled schema, nil for none.
func (k *converter) node(s *jsonschema.Schema) *node {
	if s == nil {
		return nil
	}
	if n := k.nodes[s]; n != nil {
		return n
	}
	n := &node{draft: s.DraftVersion, always: s.Bool, format: s.Format, scope: k.scopeOf(s)}
	k.nodes[s] = n
	n.ref = k.node(s.Ref)
	if s.Types != nil && !s.Types.IsEmpty() {
		n.types = newTypes(s.Types.ToStrings())
	}
	n.enum = enumOf(s)
	n.logic = k.logic(s)
	n.object = k.object(s)
	n.array = k.array(s)
	if s.MinLength != nil || s.MaxLength != nil || s.Pattern != nil {
		n.text = &textRules{min: s.MinLength, max: s.MaxLength}
		n.text.pattern, _ = s.Pattern.(*pattern)
	}
	if s.Minimum != nil || s.Maximum != nil || s.ExclusiveMinimum != nil || s.ExclusiveMaximum != nil ||
		s.MultipleOf != nil {
		n.number = &numberRules{s.Minimum, s.Maximum, s.ExclusiveMinimum, s.ExclusiveMaximum, s.MultipleOf}
	}
	return n
}

func (k *converter) list(schemas []*jsonschema.Schema) []*node {
	var out []*node
	for _, s := range schemas {
		out = append(out, k.node(s))
	}
	return out
}

func (k *converter) byName(schemas map[string]*jsonschema.Schema) map[string]*node {
	if schemas == nil {
		return nil
	}
	out := make(map[string]*node, len(schemas))
	for name, s := range schemas {
		out[name] = k.node(s)
	}
	return out
}

func (k *converter) logic(s *jsonschema.Schema) *logic {
	l := &logic{
		allOf: k.list(s.AllOf), anyOf: k.list(s.AnyOf), oneOf: k.list(s.OneOf),
		not: k.node(s.Not), cond: k.node(s.If), then: k.node(s.Then), els: k.node(s.Else),
		recursive:             k.node(s.RecursiveRef),
		unevaluatedProperties: k.node(s.UnevaluatedProperties),
		unevaluatedItems:      k.node(s.UnevaluatedItems),
	}
	if s.DynamicRef != nil {
		l.dynamic = k.node(s.DynamicRef.Ref)
		if s.DynamicRef.Anchor != "" && s.DynamicRef.Ref.DynamicAnchor == s.DynamicRef.Anchor {
			l.anchor = s.DynamicRef.Anchor
		}
	}
	if len(l.allOf)+len(l.anyOf)+len(l.oneOf) == 0 && l.not == nil && l.cond == nil && l.recursive == nil &&
		l.dynamic == nil && l.unevaluatedProperties == nil && l.unevaluatedItems == nil {
		return nil
	}
	return l
}

func (k *converter) object(s *jsonschema.Schema) *objectRules {
	if s.MinProperties == nil && s.MaxProperties == nil && len(s.Required) == 0 && s.Properties == nil &&
		s.PatternProperties == nil && s.AdditionalProperties == nil && s.PropertyNames == nil &&
		s.Dependencies == nil && s.DependentSchemas == nil && s.DependentRequired == nil {
		return nil
	}
	o := &objectRules{
		min: s.MinProperties, max: s.MaxProperties, required: s.Required,
		properties: k.byName(s.Properties), names: k.node(s.PropertyNames),
		dependentSchemas: k.byName(s.DependentSchemas), dependentRequired: s.DependentRequired,
		evaluatesAll: s.AdditionalProperties != nil,
	}
	for re, sub := range s.PatternProperties {
		if p, ok := re.(*pattern); ok {
			o.patterns = append(o.patterns, patternRule{p, k.node(sub)})
		}
	}
	switch additional := s.AdditionalProperties.(type) {
	case bool:
		o.closed = !additional
	case *jsonschema.Schema:
		o.additional = k.node(additional)
	}
	for name, dependency := range s.Dependencies {
		switch dependency := dependency.(type) {
		case []string:
			if o.required4 == nil {
				o.required4 = make(map[string][]string)
			}
			o.required4[name] = dependency
		case *jsonschema.Schema:
			if o.dependencies == nil {
				o.dependencies = make(map[string]*node)
			}
			o.dependencies[name] = k.node(dependency)
		}
	}
	return o
}

func (k *converter) array(s *jsonschema.Schema) *arrayRules {
	if s.MinItems == nil && s.MaxItems == nil && !s.UniqueItems && s.Contains == nil && s.Items == nil &&
		s.AdditionalItems == nil && s.PrefixItems == nil && s.Items2020 == nil {
		return nil
	}
	a := &arrayRules{min: s.MinItems, max: s.MaxItems, unique: s.UniqueItems, contains: k.node(s.Contains),
		minContains: s.MinContains, maxContains: s.MaxContains}
	if s.DraftVersion >= 2020 {
		a.prefix, a.rest = k.list(s.PrefixItems), k.node(s.Items2020)
		a.evaluatesAll = s.Items2020 != nil
		return a
	}
	a.evaluatesAll = s.AdditionalItems != nil
	switch items := s.Items.(type) {
	case *jsonschema.Schema:
		a.rest, a.evaluatesAll = k.node(items), true
		return a
	case []*jsonschema.Schema:
		a.prefix = k.list(items)
	}
	switch additional := s.AdditionalItems.(type) {
	case bool:
		a.closed = !additional
	case *jsonschema.Schema:
		a.rest = k.node(additional)
	}
	return a
}

func enumOf(s *jsonschema.Schema) *enum {
	switch {
	case s.Const != nil && s.Enum != nil:
		// Both must hold: what is not in the one is not allowed by the other.
		both := newEnum([]any{*s.Const}, true)
		if !slices.ContainsFunc(s.Enum.Values, func(v any) bool { return both.keys[canonical(v)] }) {
			both.keys = nil
		}
		return both
	case s.Const != nil:
		return newEnum([]any{*s.Const}, true)
	case s.Enum != nil:
		return newEnum(s.Enum.Values, false)
	}
	return nil
}

func newEnum(values []any, konst bool) *enum {
	e := &enum{keys: make(map[string]bool, len(values)), want: values, konst: konst}
	for _, v := range values {
		e.keys[canonical(v)] = true
		e.kinds |= kindOf(v)
	}
	if len(e.want) > maxShown {
		e.want = e.want[:maxShown]
	}
	return e
}
