package openapi_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/openapi"
	"github.com/sangate/sangate/server/tool"
)

// FuzzImport checks that a document is imported or refused without a panic, and that
// what it becomes asks nobody but the configured host.
//
// Holds: document/openapi-host
func FuzzImport(f *testing.F) {
	for _, s := range []string{
		small, `{"openapi":"3.0.3","info":{},"paths":{"/a":{"get":{}}}}`,
		`{"openapi":"3.0.3","paths":{"//evil.example/{a}":{"get":{"parameters":[{"in":"path","name":"a","required":true,"schema":{"type":"string"}}]}}}}`,
		`{"openapi":"3.1.0","paths":{"/{a}{b}":{"$ref":"#/components/pathItems/x"}},"components":{"pathItems":{"x":{"get":{"servers":[{"url":"https://evil.example"}]}}}}}`,
		`{"openapi":"3.0.3","paths":{"/a":{"post":{"requestBody":{"$ref":"#/components/requestBodies/b"}}}},"components":{"requestBodies":{"b":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/s"}}}}},"schemas":{"s":{"allOf":[{"$ref":"#/components/schemas/s"}]}}}}`,
		"openapi: 3.0.0\npaths: {/a: {get: {operationId: &x a, tags: [*x], 1: {true: null}}}}\n", "a: &a [*a]", "? [a]\n: b\n", "!!binary aGk=",
		`{"openapi":"3.0.3","paths":{"@evil.example/":{"get":{}},"?":{"get":{}},"#":{"get":{}},".evil.example":{"get":{}}}}`,
	} {
		f.Add(s)
	}
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 {
			t.Skip("each expression takes long to compile")
		}
		tools, _, err := openapi.Import(t.Context(), log, []byte(text), openapi.Options{Operations: []string{"*"}, BaseURL: "https://api.example", Credential: "c"})
		if errors.Is(err, contain.ErrPanicked) {
			t.Fatalf("%v", err)
		}
		if err != nil && (len(err.Error()) > 2<<10 || strings.ContainsAny(err.Error(), "\n\x00\x1b")) {
			t.Errorf("error %q, want one short line", err)
		}
		for _, p := range tools {
			d := p.Definition()
			rest, ok := strings.CutPrefix(d.Request.URL, "https://api.example")
			if !ok || !strings.HasPrefix(rest, "/") {
				t.Errorf("URL %q, want one at the configured host", d.Request.URL)
			}
			if !tool.ValidName.MatchString(d.Name) {
				t.Errorf("name %q", d.Name)
			}
		}
	})
}
