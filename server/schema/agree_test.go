package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sangate/sangate/server/schema"
)

// library compiles a schema by the JSON Schema library alone; nil if it refuses.
func library(raw []byte) *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	c := jsonschema.NewCompiler()
	if c.AddResource("mem:///schema", doc) != nil {
		return nil
	}
	compiled, err := c.Compile("mem:///schema")
	if err != nil {
		return nil
	}
	return compiled
}

// fits reports what the library says of an instance.
func fits(s *jsonschema.Schema, instance []byte) bool {
	var v any
	return jsonv2.Unmarshal(instance, &v) == nil && s.Validate(v) == nil
}

// A writer makes random schemas and instances that have names and values in common.
type writer struct {
	*rand.Rand
	draft string
}

func (w *writer) pick(list ...string) string { return list[w.IntN(len(list))] }

func (w *writer) value(depth int) string {
	switch n := w.IntN(10); {
	case n < 4 || depth <= 0:
		return w.pick("null", "true", "false", "0", "1", "2", "2.5", "-1", "1.0", "1e2", "100", `""`, `"a"`, `"ab"`, `"b"`, `"é"`, `"2024-01-01"`)
	case n < 7:
		var items []string
		for range w.IntN(4) {
			items = append(items, w.value(depth-1))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	return w.object(depth)
}

func (w *writer) object(depth int) string {
	var members []string
	for _, name := range []string{"a", "b", "ab", "c"} {
		if w.IntN(2) == 0 {
			members = append(members, strconv.Quote(name)+":"+w.value(depth-1))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (w *writer) names() string { return w.pick(`[]`, `["a"]`, `["a","b"]`, `["c"]`) }

func (w *writer) list(depth int) string {
	var out []string
	for range 1 + w.IntN(3) {
		out = append(out, w.schema(depth-1))
	}
	return "[" + strings.Join(out, ",") + "]"
}

func (w *writer) byName(depth int) string {
	return `{"a":` + w.schema(depth-1) + `,"b":` + w.schema(depth-1) + `}`
}

// schema makes one of a few keywords.
func (w *writer) schema(depth int) string {
	if depth < 0 {
		return w.pick("true", "false", `{"type":"string"}`, `{"minimum":1}`, `{"const":1}`)
	}
	if w.IntN(12) == 0 {
		return w.pick("true", "false", "{}")
	}
	words := make(map[string]string)
	for range 1 + w.IntN(4) {
		sub := func() string { return w.schema(depth - 1) }
		small := strconv.Itoa(w.IntN(3))
		switch w.IntN(38) {
		case 0, 1, 2:
			words["type"] = w.pick(`"string"`, `"number"`, `"integer"`, `"object"`, `"array"`, `["string","null"]`, `["integer","boolean"]`)
		case 3:
			words["enum"] = `[1,"a",[1],{"a":1},null]`
		case 4:
			words["const"] = w.value(1)
		case 5:
			words["minimum"] = small
		case 6:
			words["maximum"] = small
		case 7:
			words["exclusiveMinimum"] = small
		case 8:
			words["exclusiveMaximum"] = w.pick("1", "2.5", "100")
		case 9:
			words["multipleOf"] = w.pick("1", "0.5", "2", "0.1")
		case 10:
			words["minLength"] = small
		case 11:
			words["maxLength"] = small
		case 12:
			words["pattern"] = w.pick(`"^a"`, `"b$"`, `"."`)
		case 13:
			words["format"] = w.pick(`"date"`, `"regex"`, `"email"`)
		case 14, 15:
			words["properties"] = w.byName(depth)
		case 16:
			words["patternProperties"] = `{"^a":` + sub() + `,"b":` + sub() + `}`
		case 17:
			words["additionalProperties"] = sub()
		case 18:
			words["propertyNames"] = sub()
		case 19:
			words["required"] = w.names()
		case 20:
			words["minProperties"] = small
		case 21:
			words["maxProperties"] = small
		case 22:
			words["dependentRequired"] = `{"a":` + w.names() + `}`
		case 23:
			words["dependentSchemas"] = `{"a":` + sub() + `}`
		case 24:
			words["dependencies"] = `{"a":` + w.pick(w.names(), sub()) + `}`
		case 25:
			words["items"] = sub()
		case 26:
			words["prefixItems"] = w.list(depth)
		case 27:
			words["contains"] = sub()
			words[w.pick("minContains", "maxContains", "title")] = w.pick("0", "1", "2")
			delete(words, "title")
		case 28:
			words["uniqueItems"] = "true"
		case 29:
			words[w.pick("minItems", "maxItems")] = small
		case 30:
			words["allOf"] = w.list(depth)
		case 31:
			words["anyOf"] = w.list(depth)
		case 32:
			words["oneOf"] = w.list(depth)
		case 33:
			words["not"] = sub()
		case 34:
			words["if"], words[w.pick("then", "else")] = sub(), sub()
		case 35:
			words["unevaluatedProperties"] = sub()
		case 36:
			words["unevaluatedItems"] = sub()
		case 37:
			words["$ref"] = w.pick(`"#/$defs/x"`, `"#/$defs/y"`)
		}
		if strings.Contains(w.draft, "draft-0") && w.IntN(8) == 0 {
			words["items"], words["additionalItems"] = w.list(depth), sub()
		}
	}
	return join(words)
}

func join(words map[string]string) string {
	var members []string
	for name, value := range words {
		members = append(members, strconv.Quote(name)+":"+value)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// TestSameVerdictAsLibrary checks random schemas of each draft against random
// instances: this package and the library agree on what fits.
func TestSameVerdictAsLibrary(t *testing.T) {
	drafts := []string{"", "http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-06/schema#",
		"https://json-schema.org/draft/2019-09/schema", "https://json-schema.org/draft/2020-12/schema"}
	compiled, valid, invalid := 0, 0, 0
	for seed := range uint64(3000) {
		w := &writer{rand.New(rand.NewPCG(seed, 18)), drafts[seed%uint64(len(drafts))]}
		raw := `{"allOf":[` + w.schema(3) + `],"type":"object","$defs":{"x":` + w.schema(1) +
			`,"y":{"type":["object","array","string"],"properties":{"a":{"$ref":"#/$defs/y"}}}}}`
		if w.draft != "" {
			raw = `{"$schema":` + strconv.Quote(w.draft) + "," + raw[1:]
		}
		if !json.Valid([]byte(raw)) {
			t.Fatalf("the test wrote %s", raw)
		}
		s, err := schema.Compile([]byte(raw))
		other := library([]byte(raw))
		if circle := err != nil && strings.Contains(err.Error(), "circle"); !circle && (other != nil) != (err == nil) {
			t.Fatalf("Compile(%s) = %v; the library compiles it: %t", raw, err, other != nil)
		}
		if err != nil {
			continue
		}
		compiled++
		for range 12 {
			instance := []byte(w.object(3))
			want := fits(other, instance)
			err := s.Check(t.Context(), instance)
			if got := err == nil; got != want {
				t.Fatalf("Check(%s) of %s = %v; the library says valid: %t", instance, raw, err, want)
			}
			if _, ok := errors.AsType[*schema.Invalid](err); err != nil && !ok {
				t.Fatalf("Check(%s) of %s = %v, want *Invalid", instance, raw, err)
			}
			if want {
				valid++
			} else {
				invalid++
			}
		}
	}
	t.Logf("%d schemas, %d valid instances, %d invalid ones", compiled, valid, invalid)
	if compiled < 2000 || valid < 1000 || invalid < 1000 {
		t.Error("the random schemas no longer test much")
	}
}

// TestDynamicReferences checks that dynamic references resolve as the library does.
func TestDynamicReferences(t *testing.T) {
	for name, raw := range map[string]string{
		"tree extended": `{"$id":"https://x.test/strict","type":"object","$dynamicAnchor":"node","$ref":"tree","unevaluatedProperties":false,
			"$defs":{"tree":{"$id":"https://x.test/tree","$dynamicAnchor":"node","type":"object","properties":{"data":true,"children":{"type":"array","items":{"$dynamicRef":"#node"}}}}}}`,
		"tree alone": `{"$dynamicAnchor":"node","type":"object","properties":{"data":{"type":"integer"},"children":{"items":{"$dynamicRef":"#node"}}},"required":["data"]}`,
		"generic list": `{"$id":"https://x.test/numbers","type":"object","properties":{"children":{"$ref":"list"}},"$defs":{"n":{"$dynamicAnchor":"T","type":"object","required":["data"]},
			"list":{"$id":"list","type":"array","items":{"$dynamicRef":"#T"},"$defs":{"any":{"$dynamicAnchor":"T"}}}}}`,
		"recursive 2019": `{"$schema":"https://json-schema.org/draft/2019-09/schema","$id":"https://x.test/strict","$recursiveAnchor":true,"type":"object","$ref":"tree","unevaluatedProperties":false,
			"$defs":{"tree":{"$id":"tree","$recursiveAnchor":true,"type":"object","properties":{"data":true,"children":{"type":"array","items":{"$recursiveRef":"#"}}}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := schema.Compile([]byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			other := library([]byte(raw))
			verdicts := make(map[bool]int)
			for _, instance := range []string{`{}`, `{"data":1}`, `{"daat":1}`, `{"data":1,"children":[]}`, `{"data":1,"children":[{"data":1}]}`,
				`{"data":1,"children":[{"daat":1}]}`, `{"children":[{"children":[{"daat":1}]}]}`, `{"data":1,"children":[{"data":1,"children":[{"data":"x"}]}]}`, `{"children":[1]}`} {
				want, err := fits(other, []byte(instance)), s.Check(t.Context(), []byte(instance))
				verdicts[want]++
				if (err == nil) != want {
					t.Errorf("Check(%s) = %v; the library says valid: %t", instance, err, want)
				}
			}
			if verdicts[true] == 0 || verdicts[false] == 0 {
				t.Errorf("verdicts %v: the instances no longer tell schemas apart", verdicts)
			}
		})
	}
}
