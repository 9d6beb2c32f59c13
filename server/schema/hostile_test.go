package schema_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/schema"
)

// doubling makes 2^n paths: each of n definitions applies the next one twice, by apply.
func doubling(n int, apply string) string {
	var defs []string
	for i := range n {
		next := fmt.Sprintf(`{"$ref":"#/$defs/d%d"}`, i+1)
		defs = append(defs, fmt.Sprintf(`"d%d":%s`, i, strings.ReplaceAll(apply, "NEXT", next)))
	}
	return fmt.Sprintf(`{"type":"object","$ref":"#/$defs/d0","$defs":{%s,"d%d":{"type":"object"}}}`, strings.Join(defs, ","), n)
}

func repeat(n int, format string) string {
	list := make([]string, n)
	for i := range n {
		list[i] = strings.ReplaceAll(format, "%d", fmt.Sprint(i))
	}
	return strings.Join(list, ",")
}

// TestCostlySchemaRefused checks that schemas that cost more than their size to compile
// or to check against are refused when they are compiled, with the limit named.
//
// Holds: upstream/schema-compile-cost
func TestCostlySchemaRefused(t *testing.T) {
	props := func(members string) string { return `{"type":"object","properties":{` + members + `}}` }
	for _, tc := range []struct{ name, raw, want string }{
		{"2^40 paths by allOf", doubling(40, `{"allOf":[NEXT,NEXT]}`), "paths"},
		{"2^40 paths by anyOf", doubling(40, `{"anyOf":[NEXT,NEXT]}`), "paths"},
		{"2^40 paths by oneOf", doubling(40, `{"oneOf":[NEXT,NEXT]}`), "paths"},
		{"2^40 paths by not", doubling(40, `{"not":NEXT,"$ref":"#/$defs/d40","allOf":[NEXT]}`), "paths"},
		{"2^40 paths by if and then", doubling(40, `{"if":NEXT,"then":NEXT}`), "paths"},
		{"2^40 paths by dependentSchemas", doubling(40, `{"dependentSchemas":{"a":NEXT,"b":NEXT}}`), "paths"},
		{"2^40 paths by dependencies", strings.Replace(doubling(40, `{"dependencies":{"a":NEXT,"b":NEXT}}`), `"type":"object","$ref":"#/$defs/d0"`,
			`"$schema":"http://json-schema.org/draft-07/schema#","type":"object","allOf":[{"$ref":"#/$defs/d0"}]`, 1), "paths"},
		{"2^40 paths by dynamic references", strings.ReplaceAll(doubling(40, `{"allOf":[NEXT,NEXT]}`), `"$ref":"#/$defs/d`, `"$dynamicRef":"#/$defs/d`), "paths"},
		{"dynamic references in a circle", `{"type":"object","$dynamicAnchor":"a","$ref":"#/$defs/b","$defs":{"b":{"$dynamicRef":"#a"}}}`, "circle"},
		{"reference to itself", `{"type":"object","$ref":"#"}`, "circle"},
		{"references in a circle", `{"type":"object","$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}}}`, "circle"},
		{"a chain of 1,000 references", doubling(1000, `NEXT`), "chain"},
		{"minimum 1e999999", props(`"a":{"minimum":1e999999}`), "number"},
		{"multipleOf 1e-999999", props(`"a":{"multipleOf":1e-999999}`), "number"},
		{"minLength 1e999999999999", props(`"a":{"minLength":1e999999999999}`), "number"},
		{"const 1E+99999", props(`"a":{"const":[{"x":1E+99999}]}`), "number"},
		{"enum of a huge number", props(`"a":{"enum":[1e999999]}`), "number"},
		{"default of a huge number", props(`"a":{"default":1e999999}`), "number"},
		{"number in an unknown keyword", props(`"a":{"x":1e999999}`), "number"},
		{"a number of 100,000 digits", props(`"a":{"minimum":` + strings.Repeat("9", 100_000) + `}`), "number"},
		{"10,000 patterns", `{"type":"object","patternProperties":{` + repeat(5_000, `"^%d":true`) + `}}`, "patterns"},
		{"10,000 patterns in properties", props(repeat(2_900, `"p%d":{"pattern":"^%d"}`)), "patterns"},
		{"patterns that repeat", props(repeat(100, `"p%d":{"pattern":"%d[a-z]{1000}"}`)), "instructions"},
		{"a pattern that repeats in itself", props(`"a":{"pattern":"((a{30}b{30}){30}c{30}){1,1}(d{1000}e{1000}f{1000}){1}` + strings.Repeat("g{1000}", 60) + `"}`), "instructions"},
		{"a long pattern", props(`"a":{"pattern":"` + strings.Repeat("a", 10_000) + `"}`), "pattern"},
		{"10,000 levels", strings.Repeat(`{"type":"object","not":`, 9_000) + "{}" + strings.Repeat("}", 9_000), "levels"},
		{"10,000 levels in a default", `{"type":"object","default":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `}`, "levels"},
		{"100,000 subschemas", props(repeat(30_000, `"p%d":{}`)), "too many"},
		{"100,000 values", `{"type":"object","enum":[` + repeat(100_000, `%d`) + `]}`, "values"},
		{"2 MB", `{"type":"object","description":"` + strings.Repeat("a", 2<<20) + `"}`, "bytes"},
		{"long names nested", `{"type":"object","properties":{"` + strings.Repeat("n", 50_000) + `":` + props(repeat(5_000, `"p%d":{}`)) + `}}`, "names"},
		{"an enum of objects", props(`"a":{"enum":[` + repeat(1_000, `[%d]`) + `]}`), "enum"},
		{"many $id", `{"type":"object","$defs":{` + repeat(1_000, `"d%d":{"$id":"https://x.test/%d"}`) + `}}`, "$id"},
		{"references into each other's examples", `{"type":"object","x":{` + repeat(500, `"d%d":{"type":"string"}`) + `},"allOf":[` + repeat(500, `{"$ref":"#/x/d%d"}`) + `]}`, ""},
		{"references into large examples", `{"type":"object","x":{"y":{"properties":{` + repeat(2_000, `"d%d":{"type":"string"}`) + `}}},"allOf":[` + strings.Repeat(`{"$ref":"#/x/y"},{"$ref":"#/x/y/properties/d1"},`, 3) + repeat(500, `{"$ref":"#/x/y/properties/d%d"}`) + `]}`, "places"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !json.Valid([]byte(tc.raw)) {
				t.Fatal("the test's schema is not JSON")
			}
			_, err := schema.Compile([]byte(tc.raw))
			if tc.want == "" {
				if err != nil {
					t.Errorf("Compile = %v, want it compiled", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Compile = %v, want an error that names %q", err, tc.want)
			}
			if err != nil && len(err.Error()) > 2048 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// costly are schemas within the limits and arguments that take much work against them.
var costly = []struct {
	name, schema, arguments string
	left                    bool // refused for its cost; else checked within the budget
}{
	{"recursion that doubles at each level", `{"type":"object","properties":{"a":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}}`,
		strings.Repeat(`{"a":`, 40) + "{}" + strings.Repeat("}", 40), true},
	{"patterns against a long text", `{"type":"object","properties":{"a":{"allOf":[` + repeat(400, `{"pattern":"(a|b|%d)*c$"}`) + `]}}}`,
		`{"a":"` + strings.Repeat("ab", 400_000) + `"}`, true},
	{"patterns against many names", `{"type":"object","patternProperties":{` + repeat(500, `"^(%d|b)+$":true`) + `}}`,
		`{` + repeat(60_000, `"n%d":1`) + `}`, true},
	{"a pattern against names", `{"type":"object","propertyNames":{"pattern":"^n[0-9]+$"}}`, `{` + repeat(60_000, `"n%d":1`) + `}`, false},
	{"100,000 unique items", `{"type":"object","properties":{"a":{"uniqueItems":true}}}`, `{"a":[` + repeat(100_000, `%d`) + `]}`, false},
	{"20,000 unique trees of the same leaves", `{"type":"object","properties":{"a":{"uniqueItems":true}}}`, `{"a":[` + signs(14) + `]}`, false},
	{"9,000 levels against a chain", `{"type":"object","properties":{"a":{"allOf":[{"allOf":[{"allOf":[{"$ref":"#"}]}]}]}}}`,
		strings.Repeat(`{"a":`, 9_000) + "{}" + strings.Repeat("}", 9_000), true},
	{"an enum of numbers for each of 100,000 items", `{"type":"object","properties":{"a":{"items":{"enum":[` + repeat(20_000, `%d`) + `]}}}}`,
		`{"a":[` + strings.Repeat("19999,", 99_999) + `0]}`, false},
	{"anyOf of 4,000 for each of 10,000 items", `{"type":"object","properties":{"a":{"items":{"anyOf":[` + repeat(4_000, `{"const":"x%d"}`) + `]}}}}`,
		`{"a":[` + strings.Repeat(`"y",`, 9_999) + `"y"]}`, true},
	{"unevaluated properties in many branches", `{"type":"object","allOf":[` + repeat(1_000, `{"properties":{"p%d":true}}`) + `],"unevaluatedProperties":false}`,
		`{` + repeat(50_000, `"p%d":1`) + `}`, true},
	{"a regular expression of 1 MB as a value", `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"a":{"format":"regex"}}}`,
		`{"a":"` + strings.Repeat("(x{1000})", 50_000) + `"}`, false},
	{"a huge number", `{"type":"object","properties":{"a":{"multipleOf":3}}}`, `{"a":1e308}`, false},
	{"a number beyond all", `{"type":"object","properties":{"a":{"multipleOf":3}}}`, `{"a":1e999999}`, false},
}

// signs makes all lists of n numbers that differ only in their signs.
func signs(n int) string {
	var lists []string
	for bits := range 1 << n {
		var b strings.Builder
		b.WriteByte('[')
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			if bits>>i&1 == 1 {
				b.WriteByte('-')
			}
			b.WriteByte('1')
		}
		lists = append(lists, b.String()+"]")
	}
	return strings.Join(lists, ",")
}

// TestCostlyArgumentsBounded checks that checking ends within its budget of steps,
// whatever the arguments, and says so if the budget was spent.
//
// Holds: client/schema-check-cost
func TestCostlyArgumentsBounded(t *testing.T) {
	for _, tc := range costly {
		t.Run(tc.name, func(t *testing.T) {
			s, err := schema.Compile([]byte(tc.schema))
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			err = s.Check(t.Context(), []byte(tc.arguments))
			t.Logf("%v for %d bytes", time.Since(begun), len(tc.arguments))
			invalid, ok := errors.AsType[*schema.Invalid](err)
			if err != nil && !ok {
				t.Fatalf("Check = %v, want nil or *Invalid", err)
			}
			tooMuch := ok && strings.Contains(invalid.Error(), "too much work")
			if tooMuch != tc.left {
				t.Errorf("Check = %.300v; want it left for its cost: %t", err, tc.left)
			}
		})
	}
}

// ending is a context that ends after it was looked at a few times.
type ending struct {
	context.Context
	looks int
}

func (e *ending) Err() error {
	if e.looks--; e.looks < 0 {
		return context.Canceled
	}
	return nil
}

// TestCheckEndsWithContext checks that a check under way ends when its context does.
//
// Holds: client/schema-check-ends-with-request
func TestCheckEndsWithContext(t *testing.T) {
	for _, tc := range costly {
		if !tc.left {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			s, err := schema.Compile([]byte(tc.schema))
			if err != nil {
				t.Fatal(err)
			}
			ctx := &ending{t.Context(), 2}
			if err := s.Check(ctx, []byte(tc.arguments)); !errors.Is(err, context.Canceled) {
				t.Errorf("Check = %.300v, want the error of its context", err)
			}
			if ctx.looks != -1 {
				t.Errorf("the check went on for %d looks at a context that had ended", -1-ctx.looks)
			}
		})
	}
}

// TestProblemsBounded checks that what is reported of an instance stays small,
// whatever the schema and the instance have in them.
//
// Holds: upstream/schema-messages-bounded
func TestProblemsBounded(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for name, tc := range map[string]struct{ schema, arguments string }{
		"long enum":          {`{"type":"object","properties":{"a":{"enum":["` + long + `",` + repeat(20_000, `"%d"`) + `]}}}`, `{"a":"y"}`},
		"long const":         {`{"type":"object","properties":{"a":{"const":"` + long + `"}}}`, `{"a":"y"}`},
		"long required":      {`{"type":"object","required":["` + long + `",` + repeat(20_000, `"%d"`) + `]}`, `{}`},
		"long additional":    {`{"type":"object","additionalProperties":false}`, `{"` + long + `":1,` + repeat(20_000, `"%d":1`) + `}`},
		"long text, pattern": {`{"type":"object","properties":{"a":{"pattern":"^y"}}}`, `{"a":"` + long + `"}`},
		"long format":        {`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"a":{"format":"date"}}}`, `{"a":"` + long + `"}`},
		"long pointer":       {`{"type":"object","additionalProperties":{"type":"string"}}`, `{"` + long + `":1}`},
		"deep pointer":       {`{"type":"object","additionalProperties":{"$ref":"#"}}`, strings.Repeat(`{"nnnnnnnn":`, 2_000) + "1" + strings.Repeat("}", 2_000)},
		"contains":           {`{"type":"object","properties":{"a":{"contains":true,"maxContains":1}}}`, `{"a":[` + repeat(100_000, `%d`) + `]}`},
		"problems of levels": {`{"type":"object","required":["x"],"properties":{"a":{"$ref":"#"}}}`, strings.Repeat(`{"a":`, 4_000) + "{}" + strings.Repeat("}", 4_000)},
		"names":              {`{"type":"object","propertyNames":{"maxLength":1}}`, `{"` + long + `":1,` + repeat(20_000, `"n%d":1`) + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := schema.Compile([]byte(tc.schema))
			if err != nil {
				t.Fatal(err)
			}
			err = s.Check(t.Context(), []byte(tc.arguments))
			invalid, ok := errors.AsType[*schema.Invalid](err)
			if !ok || len(invalid.Problems) == 0 || len(invalid.Problems) > 20 {
				t.Fatalf("Check = %.300v, want 1 to 20 problems", err)
			}
			for _, p := range invalid.Problems {
				if len(p.Message) > 1100 || len(p.Pointer) > 1100 || p.Message == "" {
					t.Errorf("a problem with a message of %d bytes at a pointer of %d", len(p.Message), len(p.Pointer))
				}
			}
		})
	}
}
