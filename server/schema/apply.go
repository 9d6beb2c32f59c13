package schema

import "github.com/santhosh-tekuri/jsonschema/v6/kind"

// logic applies the keywords that combine schemas, then those for what is left.
func (c *check) logic(f frame, left *rest) []finding {
	l := f.n.logic
	found := c.references(f, left)
	if l.not != nil && len(c.same(f, l.not, true, left)) == 0 {
		found = add(found, f.fail(&kind.Not{})...)
	}
	for _, n := range l.allOf {
		found = add(found, c.same(f, n, false, left)...)
		if f.quiet && len(found) > 0 {
			return found
		}
	}
	if len(l.anyOf) > 0 {
		found = add(found, c.anyOf(f, left)...)
	}
	if len(l.oneOf) > 0 {
		found = add(found, c.oneOf(f, left)...)
	}
	if l.cond != nil {
		next := l.then
		if len(c.same(f, l.cond, true, left)) > 0 {
			next = l.els
		}
		if next != nil {
			found = add(found, c.same(f, next, false, left)...)
		}
	}
	return add(found, c.unevaluated(f, left)...)
}

// references applies $recursiveRef and $dynamicRef.
func (c *check) references(f frame, left *rest) []finding {
	l := f.n.logic
	var found []finding
	if n := l.recursive; n != nil {
		if n.scope != nil && n.scope.root == n && n.scope.recursive {
			n = f.dynamic.resolve(n, func(s *scope) *node {
				if s.recursive {
					return s.root
				}
				return nil
			})
		}
		found = add(found, c.same(f, n, false, left)...)
	}
	if n := l.dynamic; n != nil {
		if l.anchor != "" {
			n = f.dynamic.resolve(n, func(s *scope) *node { return s.anchors[l.anchor] })
		}
		found = add(found, c.same(f, n, false, left)...)
	}
	return found
}

func (c *check) anyOf(f frame, left *rest) []finding {
	var found []finding
	matched := false
	for _, n := range f.n.logic.anyOf {
		if more := c.same(f, n, false, left); len(more) > 0 {
			found = add(found, more...)
			continue
		}
		matched = true
		if left.empty() {
			break
		}
	}
	if matched {
		return nil
	}
	return found
}

func (c *check) oneOf(f frame, left *rest) []finding {
	var found []finding
	matched := -1
	for i, n := range f.n.logic.oneOf {
		more := c.same(f, n, matched >= 0, left)
		switch {
		case len(more) == 0 && matched >= 0:
			return f.fail(&kind.OneOf{Subschemas: []int{matched, i}})
		case len(more) == 0:
			matched = i
		case matched < 0:
			found = add(found, more...)
		}
	}
	if matched >= 0 {
		return nil
	}
	return found
}

func (c *check) unevaluated(f frame, left *rest) []finding {
	l := f.n.logic
	if left == nil {
		return nil
	}
	var found []finding
	if v, ok := f.v.(map[string]any); ok && l.unevaluatedProperties != nil {
		for name := range left.names {
			found = add(found, c.inside(f, l.unevaluatedProperties, v[name], place{name: name, index: -1})...)
		}
		left.names = nil
	}
	if v, ok := f.v.([]any); ok && l.unevaluatedItems != nil {
		for i := range left.items {
			found = add(found, c.inside(f, l.unevaluatedItems, v[i], place{index: i})...)
		}
		left.items = nil
	}
	return found
}
