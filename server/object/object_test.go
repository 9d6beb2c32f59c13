package object_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/object"
)

// flat reads everything there is, object by object, into lines.
func flat(data []byte) (string, error) {
	var b strings.Builder
	r := object.Read(data)
	var enter func(depth int)
	enter = func(depth int) {
		r.Enter()
		for name, ok := r.Next(); ok; name, ok = r.Next() {
			kind := r.Kind()
			b.WriteString(strings.Repeat(" ", depth) + string(name) + " " + kind.String())
			switch {
			case kind == '{' && depth < 20:
				enter(depth + 1)
			case kind == '"':
				b.WriteString(" text " + string(r.Text()))
			default:
				b.WriteString(" " + string(r.Value()))
			}
			b.WriteByte('\n')
		}
	}
	enter(0)
	return b.String(), r.Close()
}

var seeds = []string{
	`{}`, ` { "a" : 1 , "b":[1,{"c":[]}],"d":{"e":"f\"g\\","h":null} } `, `{"a":-1.5,"a":2}`, `{"a":{"b":1,"b":2}}`, `{"a":"\u00e4","b":true}`,
	`{"a":1}x`, `{"a":1`, `[1]`, `"x"`, ``, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":"ä"}`, `{"a":1e5,"b":{"c":[{"d":"}"}]}}`, `{"\u0061":1,"a":2}`,
	`{"a":1,}`, `{,}`, `{"a" 1}`, `{"a":01}`, `{"a":tru}`,
}

// FuzzReader checks that the reader accepts exactly the objects of strict JSON, and
// reads the same by its fast path as by jsontext.
//
// Holds: client/strict-json
func FuzzReader(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := flat(data)
		strict := jsontext.Value(data).IsValid() && jsontext.Value(data).Kind() == '{'
		if (err == nil) != strict {
			t.Fatalf("%q: %v; strict JSON object: %v", data, err, strict)
		}
		if err != nil {
			return
		}
		// The same with a member that only jsontext is sure of.
		open := strings.IndexByte(string(data), '{')
		rest := strings.TrimLeft(string(data[open+1:]), " \t\r\n")
		comma := ","
		if rest[0] == '}' {
			comma = ""
		}
		slow, err := flat([]byte(`{"\u0000slow":1e0` + comma + rest))
		if err != nil {
			return // it has that name itself
		}
		if want := "\x00slow number 1e0\n" + got; slow != want {
			t.Errorf("%q:\n%q, by jsontext\n%q", data, got, slow)
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(data, &all); err != nil {
			t.Fatal(err)
		}
	})
}

func TestParse(t *testing.T) {
	m, err := object.Parse(nil, []byte(`{"a":1,"b":{"c":2}}`), 2)
	if err != nil || len(m) != 2 || string(m[1].Name) != "b" || string(m[1].Value) != `{"c":2}` {
		t.Errorf("%q, %v", m, err)
	}
	if _, err := object.Parse(nil, []byte(`{"a":1,"b":2,"c":3}`), 2); err == nil {
		t.Error("three members where two are the most")
	}
}
