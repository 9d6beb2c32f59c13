package expr_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/expr"
	"github.com/sangate/sangate/server/turns"
)

const schema = `{"type":"object","properties":{
	"id":{"type":"integer"},"price":{"type":"number"},"name":{"type":"string"},"open":{"type":"boolean"},
	"tags":{"type":"array","items":{"type":"string"}},
	"who":{"type":"object","properties":{"mail":{"type":"string"}}},
	"items":{"type":"array","items":{"type":"object","properties":{"n":{"type":"integer"}}}},
	"free":{"type":"object","additionalProperties":true},"any":true}}`

func language(t testing.TB) (*expr.Language, *expr.Type) {
	t.Helper()
	args, err := expr.FromSchema("args", []byte(schema))
	if err != nil {
		t.Fatal(err)
	}
	l, err := expr.New(expr.Variable{"args", args}, expr.Variable{"secret", expr.String})
	if err != nil {
		t.Fatal(err)
	}
	return l, args
}

func TestEval(t *testing.T) {
	l, args := language(t)
	vars, err := expr.Decode([]byte(`{"id":9007199254740993,"price":5,"name":"Ä","tags":["a","b"],"who":{"mail":"m"},"items":[{"n":1},{"n":2}],"free":{"x":1.5},"any":[1]}`), args)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`args.id`:                            `9007199254740993`,
		`args.price * 2.0`:                   `10`,
		`args.name + "!"`:                    `"Ä!"`,
		`{"t": args.tags, "w": args.who}`:    `{"t":["a","b"],"w":{"mail":"m"}}`,
		`args.items.map(i, i.n + 1)`:         `[2,3]`,
		`args.items.filter(i, i.n > 1)`:      `[{"n":2}]`,
		`args.free.x`:                        `1.5`,
		`args.any[0]`:                        `1`,
		`has(args.open) ? args.open : false`: `false`,
		`args.?open.orValue(true)`:           `true`,
		`{"a": 1, ?"b": args.?open}`:         `{"a":1}`,
		`[1, ?args.?open]`:                   `[1]`,
		`args.who.?mail.orValue("none")`:     `"m"`,
		`string(args.id) + "/" + secret`:     `"9007199254740993/s"`,
		`base64.encode(bytes(args.name))`:    `"w4Q="`,
		`args.tags.join("+").upperAscii()`:   `"A+B"`,
		`null`:                               `null`,
		`args`:                               `{"any":[1],"free":{"x":1.5},"id":9007199254740993,"items":[{"n":1},{"n":2}],"name":"Ä","price":5,"tags":["a","b"],"who":{"mail":"m"}}`,
	} {
		p, err := l.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		v, err := p.Eval(t.Context(), map[string]any{"args": vars, "secret": "s"})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := expr.Encode(v); err != nil || string(got) != want {
			t.Errorf("%s = %s, %v; want %s", text, got, err, want)
		}
	}
	p, err := l.Compile(`args.?open`)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := p.Eval(t.Context(), map[string]any{"args": vars}); v != expr.Nothing || err != nil {
		t.Errorf("nothing = %v, %v", v, err)
	}
	p, _ = l.Compile(`args.open`)
	if _, err := p.Eval(t.Context(), map[string]any{"args": vars}); err == nil || !strings.Contains(err.Error(), "has(") {
		t.Errorf("what is not there: %v", err)
	}
}

func TestCompile(t *testing.T) {
	l, _ := language(t)
	for text, want := range map[string]string{
		`args.nmae`:                      "undefined field 'nmae'",
		`args.who.phone`:                 "undefined field 'phone'",
		`args.items.map(i, i.m)`:         "undefined field 'm'",
		`args.name + 1`:                  "no matching overload",
		`secrets`:                        "undeclared reference",
		`args.name +`:                    "column",
		`now()`:                          "undeclared reference",
		strings.Repeat("1+", 9000) + "1": "size",
	} {
		if _, err := l.Compile(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40s: %v; want %q", text, err, want)
		}
	}
	for text, ok := range map[string]bool{`args.name`: true, `args.?name`: true, `args.free.x`: true, `args.id`: false, `true`: false, `null`: true} {
		if _, err := l.Compile(text, expr.String); (err == nil) != ok || (err != nil && !errors.Is(err, expr.ErrType)) {
			t.Errorf("%s as a string: %v", text, err)
		}
	}
	p, err := l.Compile(`args.name == secret`)
	if err != nil || !p.Uses("secret") || !p.Uses("args") || p.Uses("tenant") {
		t.Errorf("uses: %v", err)
	}
}

// What costs too much does not run to its end.
func TestCost(t *testing.T) {
	l, args := language(t)
	p, err := l.Compile(`args.tags.map(a, args.tags.map(b, args.tags.map(c, a + b + c)))`)
	if err != nil {
		t.Fatal(err)
	}
	vars, err := expr.Decode([]byte(`{"tags":["`+strings.Repeat(`x","`, 2000)+`x"]}`), args)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Eval(t.Context(), map[string]any{"args": vars}); err == nil || !strings.Contains(err.Error(), "cost limit") {
		t.Errorf("2000³: %v", err)
	}
}

// turn counts how often it was entered.
type turn int

func (n *turn) EnterTurn(context.Context) error { *n++; return nil }
func (n *turn) LeaveTurn()                      {}

// Expressions that look at few values take no turn; loops in loops over a caller's list do.
//
// Holds: client/cpu-turns
func TestDearExpressionsTakeTurns(t *testing.T) {
	l, args := language(t)
	p, err := l.Compile(`args.tags.all(a, args.tags.exists(b, b == "y" || a == ""))`)
	if err != nil {
		t.Fatal(err)
	}
	for tags, want := range map[int]turn{10: 0, 1000: 1} {
		vars, err := expr.Decode([]byte(`{"tags":["`+strings.Repeat(`x","`, tags)+`y"]}`), args)
		if err != nil {
			t.Fatal(err)
		}
		var entered turn
		ctx := context.WithValue(t.Context(), turns.Key{}, &entered)
		if v, err := p.Eval(ctx, map[string]any{"args": vars}); entered != want || err == nil && v != true {
			t.Errorf("%d tags: %v, %v; %d turns taken, want %d", tags, v, err, entered, want)
		}
	}
	gone, leave := context.WithCancel(context.WithValue(t.Context(), turns.Key{}, refuses{}))
	leave()
	vars, err := expr.Decode([]byte(`{"tags":["`+strings.Repeat(`x","`, 1000)+`y"]}`), args)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := p.Eval(gone, map[string]any{"args": vars}); err == nil {
		t.Errorf("%v for who is gone", v)
	}
}

// refuses is the turn of a request that has ended.
type refuses struct{}

func (refuses) EnterTurn(ctx context.Context) error { return context.Cause(ctx) }
func (refuses) LeaveTurn()                          {}

func TestDecide(t *testing.T) {
	l, _ := language(t)
	for text, want := range map[string][2]bool{
		`secret == "s"`:                     {true, false},
		`secret == "x"`:                     {false, false},
		`args.id > 1`:                       {false, true},
		`secret == "x" && args.id > 1`:      {false, false},
		`secret == "s" || args.id > 1`:      {true, false},
		`args.name == "a" && secret == "s"`: {false, true},
	} {
		p, err := l.Compile(text, expr.Bool)
		if err != nil {
			t.Fatal(err)
		}
		yes, undecided, err := p.Decide(map[string]any{"secret": "s"}, "args")
		if err != nil || [2]bool{yes, undecided} != want {
			t.Errorf("%s: %v, %v, %v", text, yes, undecided, err)
		}
	}
}

func TestDecode(t *testing.T) {
	_, args := language(t)
	for _, bad := range []string{``, `{`, `{"a":1,"a":2}`, `{} {}`, "{\"a\":\"\xff\"}", `{"id":1.5}`, `{"id":1e400}`} {
		if v, err := expr.Decode([]byte(bad), args); err == nil {
			t.Errorf("%q: %v", bad, v)
		}
	}
}
