package expr

import (
	"fmt"
	"regexp/syntax"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Bounds on one call of a function. CEL charges a call when it has returned and looks at
// the context between the rounds of a loop only, so what one call may cost is known
// before it is made.
const (
	maxCompared = 2_000_000  // values compared with each other
	maxMade     = 16 << 20   // bytes of a text that is made
	maxMatched  = 50_000_000 // instructions of a pattern times bytes of a text
	maxPattern  = 1000       // bytes of a pattern that is computed
)

// costly are the functions whose cost or result grows faster than their arguments, each
// with what refuses a call.
var costly = map[string]func(args []ref.Val) error{
	"distinct":        func(a []ref.Val) error { return compared(a[0], a[0]) },
	"sets.contains":   func(a []ref.Val) error { return compared(a[0], a[1]) },
	"sets.equivalent": func(a []ref.Val) error { return compared(a[0], a[1]) },
	"sets.intersects": func(a []ref.Val) error { return compared(a[0], a[1]) },
	"hasOnly":         func(a []ref.Val) error { return compared(a[0], a[1]) },
	"hasAny":          func(a []ref.Val) error { return compared(a[0], a[1]) },
	"hasAll":          func(a []ref.Val) error { return compared(a[0], a[1]) },
	"hasExactly":      func(a []ref.Val) error { return compared(a[0], a[1]) },
	"replace":         replaced,
	"join":            joined,
	"format":          func(a []ref.Val) error { return made(weight(a[1], maxMade) + weight(a[0], maxMade)) },
}

// withoutMatches leaves the function matches out of the standard library, which has it in
// a way that cannot be redefined; matches defines it with its guard. CEL compiles patterns
// that are written down, and does not call it for them.
var withoutMatches = cel.StdLibSubset(env.NewLibrarySubset().AddExcludedFunctions(env.NewFunction(overloads.Matches)))

func matches() cel.EnvOption {
	texts := []*cel.Type{cel.StringType, cel.StringType}
	return cel.Function(overloads.Matches, cel.Overload(overloads.Matches, texts, cel.BoolType),
		cel.MemberOverload(overloads.MatchesString, texts, cel.BoolType),
		cel.SingletonBinaryBinding(func(text, pattern ref.Val) ref.Val {
			if err := matched(text, pattern); err != nil {
				return types.WrapErr(err)
			}
			if m, ok := text.(traits.Matcher); ok {
				return m.Match(pattern)
			}
			return types.MaybeNoSuchOverloadErr(text)
		}))
}

// guards redefines the costly functions of a language with their guards.
func guards(of *cel.Env) ([]cel.EnvOption, error) {
	var out []cel.EnvOption
	for name, refuse := range costly {
		fn := of.Functions()[name]
		if fn == nil {
			continue
		}
		bindings, err := fn.Bindings()
		if err != nil {
			return nil, err
		}
		byID := make(map[string]*functions.Overload)
		for _, b := range bindings {
			byID[b.Operator] = b
		}
		var redefined []cel.FunctionOpt
		for _, o := range fn.OverloadDecls() {
			run := byID[o.ID()]
			if run == nil {
				return nil, fmt.Errorf("%s has no function of its own", o.ID())
			}
			overload := cel.Overload
			if o.IsMemberFunction() {
				overload = cel.MemberOverload
			}
			redefined = append(redefined, overload(o.ID(), o.ArgTypes(), o.ResultType(), guarded(len(o.ArgTypes()), refuse, run)))
		}
		out = append(out, cel.Function(name, redefined...))
	}
	return out, nil
}

func guarded(arity int, refuse func([]ref.Val) error, run *functions.Overload) decls.OverloadOpt {
	checked := func(args []ref.Val, call func() ref.Val) ref.Val {
		if err := refuse(args); err != nil {
			return types.WrapErr(err)
		}
		return call()
	}
	switch {
	case arity == 1 && run.Unary != nil:
		return cel.UnaryBinding(func(a ref.Val) ref.Val { return checked([]ref.Val{a}, func() ref.Val { return run.Unary(a) }) })
	case arity == 2 && run.Binary != nil:
		return cel.BinaryBinding(func(a, b ref.Val) ref.Val {
			return checked([]ref.Val{a, b}, func() ref.Val { return run.Binary(a, b) })
		})
	}
	return cel.FunctionBinding(func(args ...ref.Val) ref.Val {
		return checked(args, func() ref.Val { return run.Function(args...) })
	})
}

// compared refuses to compare each element of a with each of b if there are too many.
func compared(a, b ref.Val) error {
	x, y := length(a), length(b)
	if max(x, 1)*weight(b, maxCompared)+max(y, 1)*weight(a, maxCompared) > 2*maxCompared {
		return fmt.Errorf("lists of %d and %d elements are too large to compare", x, y)
	}
	return nil
}

func made(n int) error {
	if n > maxMade {
		return fmt.Errorf("it makes a text of more than %d bytes", maxMade)
	}
	return nil
}

func replaced(a []ref.Val) error {
	text, ok1 := a[0].(types.String)
	old, ok2 := a[1].(types.String)
	with, ok3 := a[2].(types.String)
	if !ok1 || !ok2 || !ok3 {
		return nil
	}
	return made(len(text) + strings.Count(string(text), string(old))*len(with))
}

func joined(a []ref.Val) error {
	separators := 0
	if len(a) > 1 {
		if s, ok := a[1].(types.String); ok {
			separators = length(a[0]) * len(s)
		}
	}
	return made(weight(a[0], maxMade) + separators)
}

// matched guards patterns that are computed.
func matched(of, by ref.Val) error {
	text, ok1 := of.(types.String)
	pattern, ok2 := by.(types.String)
	if !ok1 || !ok2 {
		return nil
	}
	if len(pattern) > maxPattern {
		return fmt.Errorf("a computed pattern has more than %d bytes", maxPattern)
	}
	parsed, err := syntax.Parse(string(pattern), syntax.Perl)
	if err != nil {
		return err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return err
	}
	if len(program.Inst)*len(text) > maxMatched {
		return fmt.Errorf("a computed pattern of %d steps is too costly for a text of %d bytes", len(program.Inst), len(text))
	}
	return nil
}

func length(v ref.Val) int {
	if s, ok := v.(traits.Sizer); ok {
		if n, ok := s.Size().(types.Int); ok {
			return int(n)
		}
	}
	return 1
}

// weight counts the values in v, and the bytes of its texts, up to about most.
func weight(v ref.Val, most int) int {
	switch v := v.(type) {
	case types.String:
		return 1 + len(v)
	case types.Bytes:
		return 1 + len(v)
	case traits.Mapper:
		n := 1
		for it := v.Iterator(); n <= most && it.HasNext() == types.True; {
			key := it.Next()
			n += weight(key, most-n) + weight(v.Get(key), most-n)
		}
		return n
	case traits.Lister:
		n := 1
		for it := v.Iterator(); n <= most && it.HasNext() == types.True; {
			n += weight(it.Next(), most-n)
		}
		return n
	}
	return 1
}

// charges are the costs of functions that CEL charges as one step, whatever they read.
type charges struct{}

// CallCost implements cost.ActualCostEstimator.
func (charges) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	switch function {
	case overloads.Size:
		if s, ok := args[0].(types.String); ok {
			return new(uint64(1 + len(s)/10))
		}
	case operators.In:
		if list, ok := args[1].(traits.Lister); ok {
			return new(uint64(1 + length(list)/10))
		}
	}
	return nil
}
