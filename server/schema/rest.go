package schema

// A rest is the members or items of a value that no schema has evaluated yet, for
// unevaluatedProperties and unevaluatedItems. It is nil if nobody asks.
type rest struct {
	names map[string]bool
	items map[int]bool
}

// restOf returns the rest of a value before n is applied.
func (c *check) restOf(f frame) *rest {
	n := f.n
	switch v := f.v.(type) {
	case map[string]any:
		asked := f.watched || (n.logic != nil && n.logic.unevaluatedProperties != nil)
		if !asked || (n.object != nil && n.object.evaluatesAll) {
			return nil
		}
		c.spend(len(v))
		r := &rest{names: make(map[string]bool, len(v))}
		for name := range v {
			r.names[name] = true
		}
		return r
	case []any:
		asked := f.watched || (n.logic != nil && n.logic.unevaluatedItems != nil)
		if !asked || (n.array != nil && n.array.evaluatesAll) {
			return nil
		}
		c.spend(len(v))
		r := &rest{items: make(map[int]bool, len(v))}
		from := 0
		if n.array != nil {
			from = len(n.array.prefix)
		}
		for i := from; i < len(v); i++ {
			r.items[i] = true
		}
		return r
	}
	return nil
}

func (r *rest) empty() bool { return r == nil || len(r.names)+len(r.items) == 0 }

func (r *rest) name(name string) {
	if r != nil {
		delete(r.names, name)
	}
}

func (r *rest) item(i int) {
	if r != nil {
		delete(r.items, i)
	}
}

// merge takes out what another schema, which fits, has evaluated.
func (r *rest) merge(other *rest) {
	if r == nil {
		return
	}
	for name := range r.names {
		if other == nil || !other.names[name] {
			delete(r.names, name)
		}
	}
	for i := range r.items {
		if other == nil || !other.items[i] {
			delete(r.items, i)
		}
	}
}
