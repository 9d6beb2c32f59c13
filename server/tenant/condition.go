package tenant

import (
	"context"
	"fmt"

	"github.com/sangate/sangate/server/expr"
)

// A Condition is the part of a tool policy that looks at what a call says and who
// makes it: an expression over args, tool, tenant, identity and token. It holds
// where the expression comes to true; what cannot be evaluated does not hold.
type Condition struct{ program *expr.Program }

var conditions = func() *expr.Language {
	l, err := expr.New(
		expr.Variable{Name: "args", Type: expr.Object},
		expr.Variable{Name: "tool", Type: expr.String},
		expr.Variable{Name: "tenant", Type: expr.Struct("tenant", map[string]*expr.Type{"id": expr.String, "vars": expr.Texts})},
		expr.Variable{Name: "identity", Type: expr.Struct("identity", map[string]*expr.Type{"name": expr.String, "serial": expr.String, "sans": expr.ListOf(expr.String)})},
		expr.Variable{Name: "token", Type: expr.Struct("token", map[string]*expr.Type{"issuer": expr.String, "subject": expr.String, "client": expr.String, "claims": expr.Object})},
	)
	if err != nil {
		panic(err) // it is the same each time
	}
	return l
}()

// NewCondition compiles a condition.
func NewCondition(text string) (*Condition, error) {
	p, err := conditions.Compile(text, expr.Bool)
	if err != nil {
		return nil, err
	}
	return &Condition{p}, nil
}

// UsesTool reports whether it says something else of one tool than of another.
func (c *Condition) UsesTool() bool { return c.program.Uses("tool") }

// UsesToken reports whether it looks at the token.
func (c *Condition) UsesToken() bool { return c.program.Uses("token") }

// Holds evaluates it over a whole call; one that ctx ends does not hold. The error says
// why it does not hold.
func (c *Condition) Holds(ctx context.Context, vars map[string]any) error {
	v, err := c.program.Eval(ctx, vars)
	if err != nil {
		return fmt.Errorf("condition %q: %w", c.program, err)
	}
	if v != true {
		return fmt.Errorf("condition %q does not hold", c.program)
	}
	return nil
}

// CanHold evaluates it before the arguments are known: what no arguments could
// change is hidden.
func (c *Condition) CanHold(vars map[string]any) bool {
	yes, undecided, err := c.program.Decide(vars, "args")
	return err == nil && (yes || undecided)
}
