package expr_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/expr"
)

// hostile are arguments of about a megabyte of which expressions make much more.
func hostile() map[string]any {
	numbers, texts := make([]any, 100_000), make([]any, 50_000)
	for i := range numbers {
		numbers[i] = int64(i)
	}
	for i := range texts {
		texts[i] = fmt.Sprint("t", i)
	}
	large := strings.Repeat("a", 400_000)
	return map[string]any{"numbers": numbers, "texts": texts, "a": large, "b": large, "nested": []any{[]any{numbers}},
		"pattern": strings.Repeat("(a|b){100}", 99), "long": strings.Repeat("(a?)", 2_000), "small": []any{"x", "y", "x"}, "word": "hello"}
}

// No single call of a function costs more than the arguments that it is given allow, and
// nothing that a loop repeats cheaply is written out without bound.
//
// Holds: document/expression-cost
func TestCallsAreBounded(t *testing.T) {
	l, err := expr.New(expr.Variable{Name: "args", Type: expr.Object})
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{"args": hostile()}
	const charged = "cost limit" // also if the call was refused: CEL charges it all the same
	for text, want := range map[string]string{
		`args.numbers.distinct().size() > 0`:                         charged,
		`args.nested.distinct().size() > 0`:                          "",
		`sets.contains(args.numbers, args.texts)`:                    charged,
		`sets.equivalent(args.numbers, args.numbers)`:                charged,
		`sets.intersects(args.texts, args.numbers)`:                  charged,
		`args.a.replace("", args.b).size() > 0`:                      "makes a text",
		`args.a.replace("a", args.b, 1000).size() > 0`:               "makes a text",
		`args.texts.join(args.a).size() > 0`:                         "makes a text",
		`args.texts.map(x, args.a).join().size() > 0`:                "makes a text",
		`"%s".format([args.texts.map(x, args.a)]).size() > 0`:        "makes a text",
		`args.a.matches(args.pattern)`:                               charged,
		`args.a.matches(args.long)`:                                  charged,
		`args.numbers.all(x, size(args.a) > 0)`:                      charged,
		`args.numbers.all(x, x in args.numbers)`:                     charged,
		`args.texts.slice(0, 300).map(x, args.a)`:                    "it comes to more",
		`args.numbers.map(x, args)`:                                  charged,
		`args.small.distinct().size() == 2`:                          "",
		`sets.contains(args.small, ["x"])`:                           "",
		`args.word.replace("l", "L") == "heLLo"`:                     "",
		`args.word.replace("l", "L", 1) == "heLlo"`:                  "",
		`args.small.join("-") == "x-y-x" && args.small.join() != ""`: "",
		`"%s %d".format([args.word, 1]) == "hello 1"`:                "",
		`args.word.matches("h.*o") && args.word.matches(args.word)`:  "",
		`"x" in args.small && size(args.word) == 5`:                  "",
	} {
		p, err := l.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		v, err := p.Eval(t.Context(), vars)
		if want == "" && (err != nil || v != true) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s = %.60v, %v; want %q", text, v, err, want)
		}
		if _, err := p.JSON(t.Context(), vars); (err == nil) != (want == "") {
			t.Errorf("%s as JSON: %v, want %q", text, err, want)
		}
	}
}

// An evaluation ends with its context.
func TestEvalEndsWithContext(t *testing.T) {
	l, err := expr.New(expr.Variable{Name: "args", Type: expr.Object})
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Compile(`args.numbers.all(x, args.nested == args.nested)`) // cheap by CEL's count
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{"args": hostile()}
	gone, cancel := context.WithCancelCause(t.Context())
	left := errors.New("the client has left")
	cancel(left)
	if v, err := p.Eval(gone, vars); !errors.Is(err, left) {
		t.Errorf("Eval = %v, %v, want %v", v, err, left)
	}
	if v, err := p.JSON(gone, vars); !errors.Is(err, left) {
		t.Errorf("JSON = %v, %v, want %v", v, err, left)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.Sleep(time.Second)
		if _, err := p.Eval(ctx, vars); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Eval after the deadline: %v", err)
		}
	})
}
