package schema_test

import (
	"errors"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/sangate/sangate/server/schema"
)

// FuzzSchema checks one schema against one instance: what fits here fits by the JSON
// Schema library, what does not fit here does not there, and what is wrong is told in
// few short problems. Schemas that the library would not finish are refused before.
//
// Holds: upstream/schema-verdict
func FuzzSchema(f *testing.F) {
	for _, s := range [][2]string{
		{`{"type":"object","properties":{"a":{"type":"integer","minimum":1}},"required":["a"],"additionalProperties":false}`, `{"a":1}`},
		{`{"type":"object","$ref":"#/$defs/x","$defs":{"x":{"properties":{"a":{"$ref":"#/$defs/x"}},"unevaluatedProperties":false}}}`, `{"a":{"a":{}}}`},
		{doubling(40, `{"allOf":[NEXT,NEXT]}`), `{}`},
		{doubling(12, `{"properties":{"a":NEXT,"b":NEXT}}`), `{"a":{"b":{"a":{}}}}`},
		{`{"type":"object","maxProperties":1e999999}`, `{}`},
		{`{"type":"object","properties":{"a":{"multipleOf":1e-300}}}`, `{"a":1e300}`},
		{`{"type":"object","patternProperties":{"(a+)+$":{"pattern":"^(a|aa)+$"}}}`, `{"aaaaaaaaaaaaaaaaaaaaaaaaaaaa":"aaaaaaaaaaaaaaaaaaaaab"}`},
		{`{"type":"object","$ref":"#"}`, `{}`},
		{`{"type":"object","$ref":"file:///etc/passwd"}`, `{}`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"a":{"items":[{"const":1}],"additionalItems":false}}}`, `{"a":[1,2]}`},
		{`{"type":"object","properties":{"a":{"uniqueItems":true}}}`, `{"a":[1,1.0,{"b":1},{"b":1.0}]}`},
		{`{"type":"object","properties":{"a":{"enum":[1,"1",null,[1],{"x":1}]}}}`, `{"a":{"x":1e0}}`},
		{`{"type":"object","if":{"required":["a"]},"then":{"required":["b"]},"else":false}`, `{"a":1,"b":2}`},
		{`{"type":"object","properties":{"a":{"format":"date-time"},"b":{"format":"regex"}}}`, `{"a":"2026-02-30T00:00:00Z","b":"("}`},
		{`{"type":"object","$dynamicAnchor":"n","properties":{"c":{"items":{"$dynamicRef":"#n"}}}}`, `{"c":[{"c":[1]}]}`},
		{`{"type":"object","dependentSchemas":{"a":{"maxProperties":1}},"propertyNames":{"maxLength":2}}`, `{"a":1,"bbb":2}`},
		{`{"type":"object","properties":{"\ud800":{}}}`, "{\"\xff\":1}"},
		{`{"type":"object"}`, `{"a":1,"a":2}`},
		{`{"type":["object"]}`, `[]`},
	} {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, raw, instance []byte) {
		s, err := schema.Compile(raw)
		if err != nil {
			if len(err.Error()) > 4<<10 {
				t.Errorf("an error of %d bytes: %.200q", len(err.Error()), err)
			}
			return
		}
		other := library(raw)
		if other == nil {
			t.Fatalf("compiled %s, which the library refuses", raw)
		}
		err = s.Check(t.Context(), instance)
		invalid, ok := errors.AsType[*schema.Invalid](err)
		if err != nil {
			if !ok || len(invalid.Problems) == 0 || len(invalid.Problems) > 20 {
				t.Fatalf("Check = %v", err)
			}
			for _, p := range invalid.Problems {
				if len(p.Pointer)+len(p.Message) > 16<<10 {
					t.Errorf("a problem of %d bytes: %.200q", len(p.Pointer)+len(p.Message), p)
				}
			}
			if strings.Contains(err.Error(), "too much work") {
				return // nobody says whether it fits
			}
		}
		var v any
		if jsonv2.Unmarshal(instance, &v) != nil {
			if err == nil {
				t.Errorf("%q fits and is not strict JSON", instance)
			}
			return
		}
		if want := other.Validate(v); (err == nil) != (want == nil) {
			t.Errorf("Check(%s) of %s = %v, the library: %v", instance, raw, err, want)
		}
	})
}
