package octopus

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

var callPath = regexp.MustCompile(`(?s)\A/tool/([^/]+)/call\z`)

// FuzzToolName checks the path of a call against the words of its pattern.
//
// Holds: client/tool-path
func FuzzToolName(f *testing.F) {
	for _, s := range []string{"/tool/echo/call", "/tool//call", "/tool/call", "/tool/a/b/call", "/tool/../call", "/tool/..%2F..%2Fapi%2Fcredentials/call", "/tool/a\x00b/call",
		"/tool/" + strings.Repeat("a", 10<<10) + "/call", "/tool/call/call", "/tool/a/call/", "//tool/a/call", "/TOOL/a/call", "/tool/a/call/call"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		name, ok := ToolName(path)
		parts := callPath.FindStringSubmatch(path)
		if ok != (parts != nil) || ok && name != parts[1] {
			t.Errorf("ToolName(%q) = %q, %v, want %q", path, name, ok, parts)
		}
	})
}

// FuzzArguments checks that arguments are one strict JSON object, of the member of
// that name or the whole body, and that the body is read as one reader more reads it.
//
// Holds: client/call-body
func FuzzArguments(f *testing.F) {
	for _, s := range []string{"", `{"arguments":{"a":1}}`, `{"a":1}`, `{"arguments":{},"arguments":{"a":1}}`, `{"arguments":[]}`, `{"arguments":null}`, `{"Arguments":{}}`,
		`{"\u0061rguments":{"b":2}}`, `{"arguments":{"a":1,"a":2}}`, `[{}]`, `{} {}`, "{\"a\":\"\xff\"}", `{"arguments":{"arguments":{}}}`, strings.Repeat(`{"arguments":`, 20_000), " {} ", "\ufeff{}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		args, err := arguments(body)
		var members map[string]jsontext.Value
		strict := jsonv2.Unmarshal(body, &members) == nil && jsontext.Value(body).Kind() == '{'
		want := members["arguments"]
		switch {
		case len(body) == 0:
			strict, want = true, jsontext.Value("{}")
		case want == nil:
			want = body
		case want.Kind() != '{':
			strict = false
		}
		if (err == nil) != strict {
			t.Fatalf("%q: %v; an object by the strict reader: %v", body, err, strict)
		}
		if err == nil && !bytes.Equal(args, want) {
			t.Errorf("%q: %q, want %q", body, args, want)
		}
	})
}
