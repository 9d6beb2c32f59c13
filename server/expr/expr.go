// Package expr is the expression language of the configuration: CEL, with the
// types of what an expression can read known when it is compiled, and its cost
// bounded when it runs.
//
// An expression reads its variables and computes; it cannot reach anything else,
// has no clock and no chance in it, and ends.
package expr

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"

	"github.com/sangate/sangate/server/turns"
)

// Bounds on an expression and on what one evaluation of it may cost, in CEL's
// units: about one for each step, and for each ten bytes of text looked at.
const (
	maxText  = 16 << 10 // bytes
	maxCost  = 1_000_000
	freeCost = 20_000 // some milliseconds; what costs more takes a turn

	checkEvery = 100 // rounds of a loop, until the context is looked at
)

// A Variable is what an expression can read.
type Variable struct {
	Name string
	Type *Type
}

// A Language compiles expressions over the same variables.
type Language struct{ env *cel.Env }

// New makes a language.
func New(variables ...Variable) (*Language, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	known := &provider{Registry: registry, objects: make(map[string]map[string]*Type)}
	opts := []cel.EnvOption{cel.CustomTypeAdapter(registry), cel.CustomTypeProvider(known), cel.OptionalTypes(), cel.ParserExpressionSizeLimit(maxText),
		ext.Strings(), ext.Encoders(), ext.Math(), ext.Lists(), ext.Sets()}
	for _, v := range variables {
		known.learn(v.Type)
		opts = append(opts, cel.Variable(v.Name, v.Type.cel))
	}
	env, err := cel.NewCustomEnv(append([]cel.EnvOption{cel.StdLib(withoutMatches), matches()}, opts...)...)
	if err != nil {
		return nil, err
	}
	guarded, err := guards(env)
	if err != nil {
		return nil, err
	}
	if env, err = env.Extend(guarded...); err != nil {
		return nil, err
	}
	return &Language{env}, nil
}

// A Program is a compiled expression. Safe for concurrent use.
type Program struct {
	text  string
	first cel.Program // up to freeCost
	run   cel.Program // up to maxCost
	uses  map[string]bool
}

// ErrType reports an expression of another type than is wanted.
var ErrType = errors.New("is of another type")

// Compile compiles an expression, which must come to one of the wanted types, or
// something of which only running it tells; none is any.
func (l *Language) Compile(text string, want ...*Type) (*Program, error) {
	checked, issues := l.env.Compile(text)
	err := issues.Err()
	if err != nil {
		return nil, plain(issues)
	}
	out := checked.OutputType()
	if len(want) > 0 && !fits(out, want) {
		names := make([]string, len(want))
		for i, w := range want {
			names[i] = w.String()
		}
		return nil, fmt.Errorf("%q %w: %s, want %s", text, ErrType, cel.FormatCELType(out), strings.Join(names, " or "))
	}
	p := &Program{text: text, uses: make(map[string]bool)}
	if p.first, err = l.program(checked, freeCost); err != nil {
		return nil, err
	}
	if p.run, err = l.program(checked, maxCost); err != nil {
		return nil, err
	}
	root := ast.NavigateAST(checked.NativeRep())
	for _, e := range ast.MatchDescendants(root, ast.KindMatcher(ast.IdentKind)) {
		p.uses[e.AsIdent()] = true
	}
	if root.Kind() == ast.IdentKind {
		p.uses[root.AsIdent()] = true
	}
	return p, nil
}

func (l *Language) program(checked *cel.Ast, cost uint64) (cel.Program, error) {
	return l.env.Program(checked, cel.CostLimit(cost), cel.CostTracking(charges{}),
		cel.InterruptCheckFrequency(checkEvery), cel.EvalOptions(cel.OptOptimize, cel.OptPartialEval))
}

// fits reports whether a type can be what is wanted. Of an optional it is what
// it holds that counts.
func fits(out *types.Type, want []*Type) bool {
	if out.TypeName() == "optional_type" && len(out.Parameters()) == 1 {
		out = out.Parameters()[0]
	}
	if out.Kind() == types.DynKind || out.Kind() == types.NullTypeKind {
		return true
	}
	for _, w := range want {
		if w.cel.Kind() == types.DynKind || w.cel.IsAssignableType(out) {
			return true
		}
	}
	return false
}

// plain is what the compiler has to say, in one line.
func plain(issues *cel.Issues) error {
	var parts []string
	for _, e := range issues.Errors() {
		parts = append(parts, fmt.Sprintf("at column %d: %s", e.Location.Column()+1, strings.ReplaceAll(e.Message, "\n", " ")))
	}
	return errors.New(strings.Join(parts, "; "))
}

// String returns the expression.
func (p *Program) String() string { return p.text }

// Uses reports whether the expression reads the variable.
func (p *Program) Uses(variable string) bool { return p.uses[variable] }

// Eval evaluates the expression, and returns what it comes to as JSON has it:
// nil, bool, int64, uint64, float64, string, []any, map[string]any; [Nothing] for
// an optional that holds nothing. It ends with ctx. If it costs much, the request of ctx
// takes a turn for it.
func (p *Program) Eval(ctx context.Context, vars map[string]any) (any, error) {
	out, _, err := p.first.ContextEval(ctx, vars)
	if ended, ok := errors.AsType[interpreter.EvalCancelledError](err); ok && ended.Cause == interpreter.CostLimitExceeded {
		if err := turns.EnterAnyway(ctx); err != nil {
			return nil, err
		}
		out, _, err = p.run.ContextEval(ctx, vars)
	}
	if err != nil {
		return nil, err
	}
	return new(output).native(out, 0)
}

// Decide evaluates an expression of type bool, of which not everything may be
// known: undecided says that it depends on what is not.
func (p *Program) Decide(vars map[string]any, unknown ...string) (yes, undecided bool, err error) {
	var patterns []*cel.AttributePatternType
	for _, name := range unknown {
		patterns = append(patterns, cel.AttributePattern(name))
	}
	partial, err := cel.PartialVars(vars, patterns...)
	if err != nil {
		return false, false, err
	}
	out, _, err := p.run.Eval(partial)
	switch {
	case err != nil:
		return false, false, err
	case types.IsUnknown(out):
		return false, true, nil
	}
	return out == ref.Val(types.True), false, nil
}
