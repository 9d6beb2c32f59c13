package expr_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/expr"
)

// FuzzDecode checks how a tenant's arguments become values of an expression: what is
// decoded is strict JSON, and comes out the same as it went in, whole numbers to the
// last digit.
//
// Holds: client/arguments-decoded-exactly
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[true,null,"x"],"c":{"d":1.5}}`, `9007199254740993`, `-9223372036854775808`, `18446744073709551615`, `1e999`, `-0`, `1.0`, `{"a":1,"a":2}`,
		`"\ud800"`, "\"\xff\"", `[1] [2]`, ``, strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 5000), `1e-400`, `[1,]`, `{"a" 1}`, `nul`} {
		f.Add([]byte(s))
	}
	language, err := expr.New(expr.Variable{Name: "v", Type: expr.Any})
	if err != nil {
		f.Fatal(err)
	}
	program, err := language.Compile("v")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := expr.Decode(data, nil)
		if err != nil {
			return
		}
		if !jsontext.Value(data).IsValid() {
			t.Fatalf("took %q, which is not strict JSON", data)
		}
		out, err := expr.Encode(v)
		if err != nil {
			t.Fatalf("%q decodes to %v: %v", data, v, err)
		}
		again, err := expr.Decode(out, nil)
		if err != nil {
			t.Fatalf("%q encodes to %q: %v", data, out, err)
		}
		if twice, err := expr.Encode(again); err != nil || !bytes.Equal(twice, out) {
			t.Errorf("%q encodes to %q, then %q, %v", data, out, twice, err)
		}
		same(t, data, out)
		if evaluated, err := program.JSON(t.Context(), map[string]any{"v": v}); err == nil && !bytes.Equal(evaluated, out) {
			t.Errorf("%q evaluates to %q, want %q", data, evaluated, out)
		}
	})
}

// same holds the two against each other as encoding/json reads them.
func same(t *testing.T, in, out []byte) {
	var a, b any
	x, y := json.NewDecoder(bytes.NewReader(in)), json.NewDecoder(bytes.NewReader(out))
	x.UseNumber()
	y.UseNumber()
	if err := x.Decode(&a); err != nil {
		t.Fatalf("took %q: %v", in, err)
	}
	if err := y.Decode(&b); err != nil || !equal(a, b) {
		t.Errorf("%q came out as %q, %v", in, out, err)
	}
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		if i, err := a.Int64(); ok && err == nil {
			j, err := b.Int64()
			return err == nil && i == j
		}
		x, _ := a.Float64()
		y, _ := b.Float64()
		return ok && (x == y || math.IsInf(x, 0))
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equal(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for name := range a {
			if other, ok := b[name]; !ok || !equal(a[name], other) {
				return false
			}
		}
		return true
	}
	return a == b
}

// FuzzCompile checks that an expression of the configuration compiles or is refused
// in one line, and that running it on fixed values ends within its cost.
//
// Holds: document/expression-ends
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`args.priority != "urgent"`, `args.list.all(x, args.list.all(y, x == y))`, `"a" + args.name`, `[1,2,3].map(x, x*x)`, `args.?a.orValue(1)`, `1/0`, `((((((((`,
		strings.Repeat("!", 2000) + "true", strings.Repeat("[", 300), `"a".matches("(a+)+$")`, `"%s".format([args])`, `base64.decode("!")`, `args[""]`, `{1:2}`, "\"\\x00\n", `9223372036854775807 + 1`} {
		f.Add(s)
	}
	language, err := expr.New(expr.Variable{Name: "args", Type: expr.Object})
	if err != nil {
		f.Fatal(err)
	}
	vars := map[string]any{"args": map[string]any{"name": "x", "list": []any{int64(1), int64(2), "three"}, "priority": "low", "n": 1.5}}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := language.Compile(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00\x1b") && !strings.ContainsAny(text, "\n\x00\x1b") {
				t.Errorf("more than a line: %q", err)
			}
			return
		}
		if p.String() != text {
			t.Errorf("%q reads back as %q", text, p)
		}
		v, err := p.Eval(t.Context(), vars)
		if err != nil || v == expr.Nothing {
			return
		}
		if out, err := expr.Encode(v); err == nil && !jsontext.Value(out).IsValid() {
			t.Errorf("%q comes to %q, which is not JSON", text, out)
		}
	})
}
