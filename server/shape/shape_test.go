package shape_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sangate/sangate/server/shape"
)

// shaped are schemas that have a shape.
var shaped = []string{
	`{"type":"object"}`,
	`{"type":"object","properties":{"message":{"type":"string","description":"what"}},"required":["message"],"additionalProperties":false}`,
	`{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":["number","null"]},"c":{"type":"boolean"},"d":true},"required":["a","d"]}`,
	`{"type":"object","properties":{"list":{"type":"array","items":{"type":"object","properties":{"n":{"type":"integer"}},"additionalProperties":false}}}}`,
	`{"type":"object","properties":{"e":{"enum":["low","high","a\"b"]},"any":{},"list":{"type":"array"}},"additionalProperties":{}}`,
	`{"type":"object","properties":{"a":false}}`,
	`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"at":{"type":"string","format":"date-time"}}}`,
}

// shapeless are those that say more than a shape knows.
var shapeless = []string{
	`{"type":"object","properties":{"a":{"type":"string","minLength":3}}}`,
	`{"type":"object","properties":{"a":{"$ref":"#/$defs/a"}},"$defs":{"a":{"type":"string"}}}`,
	`{"type":"object","minProperties":1}`,
	`{"type":"object","required":["a"]}`,
	`{"type":"object","additionalProperties":{"type":"string"}}`,
	`{"type":"object","properties":{"a":{"enum":["x",1]}}}`,
	`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"at":{"type":"string","format":"date-time"}}}`,
}

func shapeOf(t testing.TB, text string) *shape.Shape {
	t.Helper()
	var schema any
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		t.Fatal(err)
	}
	return shape.Of(schema)
}

// compiled is the schema as the validator of tools has it.
func compiled(t testing.TB, text string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///schema", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:///schema")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestShapes(t *testing.T) {
	for _, text := range shaped {
		if shapeOf(t, text) == nil {
			t.Errorf("%s has no shape", text)
		}
	}
	for _, text := range shapeless {
		if shapeOf(t, text) != nil {
			t.Errorf("%s has a shape, and says more than that knows", text)
		}
	}
	for text, want := range map[string]bool{
		`{"message":"a b"}`: true, ` { "message" : "\"ä\n" } `: true, `{}`: false, `{"message":1}`: false, `{"message":"a","x":1}`: false,
		`{"message":"a","message":"b"}`: false, `{"message":"\ud800"}`: false, "{\"message\":\"\xff\"}": false, `{"message":"a"}x`: false,
		`{"mess\u0061ge":"a"}`: false, `{"message":"a",}`: false, ``: false, `null`: false,
	} {
		if got := shapeOf(t, shaped[1]).Accepts([]byte(text)); got != want {
			t.Errorf("%s: accepted: %v, want %v", text, got, want)
		}
	}
}

// FuzzShape checks that what a shape accepts is strict JSON that fits its schema.
//
// Holds: client/fast-path-never-wider
func FuzzShape(f *testing.F) {
	for i := range shaped {
		for _, text := range []string{
			`{"message":"a"}`, `{"a":1,"b":2.5,"c":true,"d":[1,{"x":null}]}`, `{"a":-0,"d":{}}`, `{"a":1.0,"d":0}`, `{"list":[{"n":1},{}]}`,
			`{"e":"low","any":[[[]]],"x":1,"x":2}`, `{"e":"a\"b"}`, `{"list":[],"y":{"z":1,"z":2}}`, `{"a":01,"d":1e9}`, `{"at":"no date"}`,
		} {
			f.Add(i, []byte(text))
		}
	}
	var shapes []*shape.Shape
	var schemas []*jsonschema.Schema
	for _, text := range shaped {
		shapes, schemas = append(shapes, shapeOf(f, text)), append(schemas, compiled(f, text))
	}
	f.Fuzz(func(t *testing.T, i int, data []byte) {
		if i < 0 || i >= len(schemas) || !shapes[i].Accepts(data) {
			return
		}
		var value any
		err := jsonv2.Unmarshal(data, &value)
		if err = errors.Join(err, schemas[i].Validate(value)); err != nil {
			t.Errorf("accepted %q under %s: %v", data, shaped[i], err)
		}
	})
}

func TestAllocatesNothing(t *testing.T) {
	s, raw := shapeOf(t, shaped[1]), []byte(`{"message":"The quick brown fox"}`)
	if n := testing.AllocsPerRun(100, func() {
		if !s.Accepts(raw) {
			t.Fatal("not accepted")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
