package schema

import (
	"context"
	"errors"
	"fmt"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxDepth bounds the recursion of a check: levels of the instance, each times the
// chain of subschemas that apply to it.
const maxDepth = 10_000

// A check walks an instance and a schema. It stops itself by a panic with stopped,
// which run recovers.
type check struct {
	ctx   context.Context
	left  int // steps
	until int // value of left at which ctx is looked at next
}

// stopped ends a check.
type stopped struct{ err error }

// errCostly reports an instance that takes more steps than its budget.
var errCostly = errors.New("costs too much to check")

// steps between two looks at the context.
const pace = 2048

// spend charges n steps, and ends the check if there are none left or its context has
// ended.
func (c *check) spend(n int) {
	c.left -= n
	if c.left > c.until {
		return
	}
	if c.left < 0 {
		panic(stopped{errCostly})
	}
	if err := c.ctx.Err(); err != nil {
		panic(stopped{err})
	}
	c.until = max(c.left-pace, 0)
}

// run checks v, and returns what is wrong, nil if nothing.
func (n *node) run(ctx context.Context, v any, steps int) (found []finding, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case stopped:
			found, err = nil, p.err
			if p.err == errCostly {
				found = []finding{{new(place), &costly{steps}}}
				err = nil
			}
		default:
			panic(p)
		}
	}()
	c := &check{ctx: ctx, left: steps, until: steps - pace}
	found, _ = c.node(frame{n: n, v: v, at: new(place)})
	return found, nil
}

// A frame is the application of one schema to one value.
type frame struct {
	n       *node
	v       any
	at      *place
	dynamic *dynamicScope
	quiet   bool // whoever asks needs to know only whether it fits
	watched bool // whoever asks needs to know what was evaluated
	depth   int
}

// node applies a schema to a value. It returns what is wrong, and what of an object or
// array it has not evaluated.
func (c *check) node(f frame) ([]finding, *rest) {
	c.spend(1)
	n := f.n
	if f.depth > maxDepth {
		panic(stopped{errCostly})
	}
	if n.always != nil && !*n.always {
		return f.fail(&kind.FalseSchema{}), nil
	}
	left := c.restOf(f)
	if n.always != nil {
		return nil, left
	}
	f.dynamic = f.dynamic.enter(n)
	if n.types != nil && !n.types.allows(f.v) {
		return f.fail(&kind.Type{Got: kindOf(f.v).String(), Want: n.types.names}), nil
	}
	if n.enum != nil && !c.in(n.enum, f.v) {
		return f.fail(n.enum.problem()), nil
	}
	if n.format != nil {
		if err := c.format(f); err != nil {
			got := f.v
			if s, ok := got.(string); ok {
				got = cut(s, maxText)
			}
			return f.fail(&kind.Format{Got: got, Want: n.format.Name, Err: err}), nil
		}
	}
	var found []finding
	if n.ref != nil {
		found = c.same(f, n.ref, false, left)
		if n.draft < 2019 {
			return found, left
		}
	}
	switch v := f.v.(type) {
	case map[string]any:
		found = add(found, c.object(f, v, left)...)
	case []any:
		found = add(found, c.array(f, v, left)...)
	case string:
		found = add(found, c.text(f, v)...)
	case float64:
		found = add(found, c.number(f, v)...)
	}
	if n.logic != nil && (len(found) == 0 || !f.quiet) {
		found = add(found, c.logic(f, left)...)
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, left
}

// fail returns one finding.
func (f *frame) fail(k jsonschema.ErrorKind) []finding { return []finding{{f.at, k}} }

// same applies another schema to the same value, and takes what it evaluates out of
// left if the value fits.
func (c *check) same(f frame, n *node, quiet bool, left *rest) []finding {
	next := frame{n: n, v: f.v, at: f.at, dynamic: f.dynamic, quiet: f.quiet || quiet, watched: !left.empty(), depth: f.depth + 1}
	found, seen := c.node(next)
	if len(found) == 0 {
		left.merge(seen)
	}
	return found
}

// inside applies a schema to a member or an item.
func (c *check) inside(f frame, n *node, v any, at place) []finding {
	at.parent = f.at
	found, _ := c.node(frame{n: n, v: v, at: &at, dynamic: f.dynamic, quiet: f.quiet, depth: f.depth + 1})
	return found
}

// in reports whether v is one of the values. A text is looked up at once; anything
// else is charged by its size.
func (c *check) in(e *enum, v any) bool {
	if e.kinds&kindOf(v) == 0 {
		return false
	}
	c.spend(weight(v))
	return e.keys[canonical(v)]
}

// format applies a format, which drafts before 2019-09 assert.
func (c *check) format(f frame) error {
	s, ok := f.v.(string)
	if !ok {
		return f.n.format.Validate(f.v)
	}
	c.spend(1 + len(s)/4)
	if f.n.format.Name != "regex" {
		return f.n.format.Validate(s)
	}
	if len(s) > maxFormatRegex {
		return fmt.Errorf("longer than %d bytes", maxFormatRegex)
	}
	_, err := syntax.Parse(s, syntax.Perl)
	return err
}
