package schema

import (
	"math/big"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

func (c *check) object(f frame, v map[string]any, left *rest) []finding {
	o := f.n.object
	if o == nil {
		return nil
	}
	c.spend(len(v) + len(o.required))
	var found []finding
	if o.min != nil && len(v) < *o.min {
		found = add(found, f.fail(&kind.MinProperties{Got: len(v), Want: *o.min})...)
	}
	if o.max != nil && len(v) > *o.max {
		found = add(found, f.fail(&kind.MaxProperties{Got: len(v), Want: *o.max})...)
	}
	if missing := missingOf(v, o.required); missing != nil {
		found = add(found, f.fail(&kind.Required{Missing: missing})...)
	}
	if f.quiet && len(found) > 0 {
		return found
	}
	var closedTo []string
	for name, value := range v {
		evaluated, more := c.member(f, name, value)
		found = add(found, more...)
		switch {
		case evaluated:
			left.name(name)
		case o.closed && len(closedTo) < maxShown:
			closedTo = append(closedTo, name)
		}
		if f.quiet && len(found)+len(closedTo) > 0 {
			return f.fail(&kind.AdditionalProperties{})
		}
	}
	if closedTo != nil {
		found = add(found, f.fail(&kind.AdditionalProperties{Properties: cutAll(closedTo)})...)
	}
	if o.names != nil {
		for name := range v {
			found = add(found, c.inName(f, o.names, name)...)
		}
	}
	return add(found, c.dependencies(f, v, left)...)
}

// member applies the schemas for one member, and reports whether there are any.
func (c *check) member(f frame, name string, value any) (evaluated bool, found []finding) {
	o := f.n.object
	at := place{name: name, index: -1}
	if n := o.properties[name]; n != nil {
		evaluated = true
		found = c.inside(f, n, value, at)
	}
	for _, p := range o.patterns {
		if c.match(p.pattern, name) {
			evaluated = true
			found = add(found, c.inside(f, p.node, value, at)...)
		}
	}
	if !evaluated && o.additional != nil {
		return true, c.inside(f, o.additional, value, at)
	}
	return evaluated || (o.evaluatesAll && !o.closed), found
}

// inName applies a schema to a name of the object.
func (c *check) inName(f frame, n *node, name string) []finding {
	found, _ := c.node(frame{n: n, v: name, at: f.at, dynamic: f.dynamic, quiet: f.quiet, depth: f.depth + 1})
	return found
}

func (c *check) dependencies(f frame, v map[string]any, left *rest) []finding {
	o := f.n.object
	c.spend(len(o.required4) + len(o.dependencies) + len(o.dependentSchemas) + len(o.dependentRequired))
	var found []finding
	for name, needs := range o.required4 {
		if _, ok := v[name]; ok {
			c.spend(len(needs))
			if missing := missingOf(v, needs); missing != nil {
				found = add(found, f.fail(&kind.Dependency{Prop: cut(name, maxText), Missing: missing})...)
			}
		}
	}
	for name, needs := range o.dependentRequired {
		if _, ok := v[name]; ok {
			c.spend(len(needs))
			if missing := missingOf(v, needs); missing != nil {
				found = add(found, f.fail(&kind.DependentRequired{Prop: cut(name, maxText), Missing: missing})...)
			}
		}
	}
	for _, nodes := range []map[string]*node{o.dependencies, o.dependentSchemas} {
		for name, n := range nodes {
			if _, ok := v[name]; ok {
				found = add(found, c.same(f, n, false, left)...)
			}
		}
	}
	return found
}

// missingOf returns names that v lacks, as many as are shown.
func missingOf(v map[string]any, names []string) []string {
	var missing []string
	for _, name := range names {
		if _, ok := v[name]; !ok && len(missing) < maxShown {
			missing = append(missing, cut(name, maxText))
		}
	}
	return missing
}

func (c *check) array(f frame, v []any, left *rest) []finding {
	a := f.n.array
	if a == nil {
		return nil
	}
	c.spend(1 + len(v)/8)
	var found []finding
	if a.min != nil && len(v) < *a.min {
		found = add(found, f.fail(&kind.MinItems{Got: len(v), Want: *a.min})...)
	}
	if a.max != nil && len(v) > *a.max {
		found = add(found, f.fail(&kind.MaxItems{Got: len(v), Want: *a.max})...)
	}
	if a.unique {
		found = add(found, c.unique(f, v)...)
	}
	if a.closed && len(v) > len(a.prefix) {
		found = add(found, f.fail(&kind.AdditionalItems{Count: len(v) - len(a.prefix)})...)
	}
	for i, item := range v {
		n := a.rest
		if i < len(a.prefix) {
			n = a.prefix[i]
		}
		if n == nil {
			break
		}
		if f.quiet && len(found) > 0 {
			return found
		}
		found = add(found, c.inside(f, n, item, place{index: i})...)
	}
	if a.contains != nil {
		found = add(found, c.contains(f, v, left)...)
	}
	return found
}

// unique looks for two equal items, in time linear in the size of the array.
func (c *check) unique(f frame, v []any) []finding {
	seen := make(map[string]int, len(v))
	for i, item := range v {
		c.spend(weight(item))
		key := canonical(item)
		if j, ok := seen[key]; ok {
			return f.fail(&kind.UniqueItems{Duplicates: [2]int{j, i}})
		}
		seen[key] = i
	}
	return nil
}

func (c *check) contains(f frame, v []any, left *rest) []finding {
	a := f.n.array
	var found []finding
	var matched []int
	count := 0
	for i, item := range v {
		if more := c.inside(f, a.contains, item, place{index: i}); len(more) > 0 {
			found = add(found, more...)
			continue
		}
		count++
		if len(matched) < maxShown {
			matched = append(matched, i)
		}
		if f.n.draft >= 2020 {
			left.item(i)
		}
	}
	switch least := a.minContains; {
	case a.maxContains != nil && count > *a.maxContains:
		return f.fail(&kind.MaxContains{Got: matched, Want: *a.maxContains})
	case least != nil && count >= *least, least == nil && count > 0:
		return nil
	case len(found) > 0:
		return found
	case least != nil:
		return f.fail(&kind.MinContains{Got: matched, Want: *least})
	}
	return f.fail(&kind.Contains{})
}

func (c *check) text(f frame, v string) []finding {
	t := f.n.text
	if t == nil {
		return nil
	}
	var found []finding
	if t.min != nil || t.max != nil {
		c.spend(1 + len(v)/64)
		n := utf8.RuneCountInString(v)
		if t.min != nil && n < *t.min {
			found = add(found, f.fail(&kind.MinLength{Got: n, Want: *t.min})...)
		}
		if t.max != nil && n > *t.max {
			found = add(found, f.fail(&kind.MaxLength{Got: n, Want: *t.max})...)
		}
	}
	if t.pattern != nil && !c.match(t.pattern, v) {
		found = add(found, f.fail(&kind.Pattern{Got: cut(v, maxText), Want: cut(t.pattern.String(), maxText)})...)
	}
	return found
}

// match charges for a pattern what matching takes at most before it begins.
func (c *check) match(p *pattern, s string) bool {
	c.spend(1 + p.instructions*(len(s)+1)/8)
	return p.MatchString(s)
}

func (c *check) number(f frame, v float64) []finding {
	r := f.n.number
	if r == nil {
		return nil
	}
	c.spend(10)
	n := rational(v)
	var found []finding
	if r.min != nil && n.Cmp(r.min) < 0 {
		found = add(found, f.fail(&kind.Minimum{Got: n, Want: r.min})...)
	}
	if r.max != nil && n.Cmp(r.max) > 0 {
		found = add(found, f.fail(&kind.Maximum{Got: n, Want: r.max})...)
	}
	if r.above != nil && n.Cmp(r.above) <= 0 {
		found = add(found, f.fail(&kind.ExclusiveMinimum{Got: n, Want: r.above})...)
	}
	if r.below != nil && n.Cmp(r.below) >= 0 {
		found = add(found, f.fail(&kind.ExclusiveMaximum{Got: n, Want: r.below})...)
	}
	if r.multiple != nil && (r.multiple.Sign() == 0 || !new(big.Rat).Quo(n, r.multiple).IsInt()) {
		found = add(found, f.fail(&kind.MultipleOf{Got: n, Want: r.multiple})...)
	}
	return found
}
