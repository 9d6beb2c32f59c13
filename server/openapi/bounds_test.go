package openapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/openapi"
)

// TestHostileDocumentsRefused checks that documents which overflow the stack or the
// memory of the OpenAPI library are errors.
//
// Holds: document/openapi-bounded
func TestHostileDocumentsRefused(t *testing.T) {
	const head = `{"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/a":{"get":{"operationId":"a","responses":{"200":{"description":"ok"}}}}},"components":{`
	documents := map[string]string{
		"deep JSON":  head + `"schemas":{"A":` + strings.Repeat(`{"items":`, 10_000) + `{}` + strings.Repeat(`}`, 10_000) + `}}}`,
		"deep flow":  "openapi: 3.0.3\nx-a: " + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "\n",
		"deep lists": "openapi: 3.0.3\nx-a:\n  " + strings.Repeat("- ", 10_000) + "a\n",
	}
	aliases := "openapi: 3.0.3\nx-a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 10; i++ {
		aliases += fmt.Sprintf("x-a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), ","))
	}
	documents["alias bomb"] = aliases
	for _, kind := range []string{"schemas", "parameters", "responses", "requestBodies", "examples", "headers", "links", "callbacks", "pathItems"} {
		documents["circle of "+kind] = fmt.Sprintf(`%s%q:{"A":{"$ref":"#/components/%s/B"},"B":{"$ref":"#/components/%s/A"}}}}`, head, kind, kind, kind)
	}
	documents["callback calls itself"] = head + `"callbacks":{"A":{"u":{"get":{"callbacks":{"x":{"$ref":"#/components/callbacks/A"}},"responses":{}}}}}}}`
	for name, document := range documents {
		t.Run(name, func(t *testing.T) {
			if _, _, err := openapi.Import([]byte(document), openapi.Options{Operations: []string{"*"}, BaseURL: "https://a.example"}); err == nil {
				t.Error("Import accepted it, want an error")
			}
		})
	}
}

func TestRecursiveSchemaImported(t *testing.T) {
	const document = `{"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/a":{"post":{"operationId":"a","requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Tree"}}}},"responses":{"200":{"description":"ok"}}}}},
		"components":{"schemas":{"Tree":{"type":"object","properties":{"left":{"$ref":"#/components/schemas/Tree"}}}}}}`
	defs, _, err := openapi.Import([]byte(document), openapi.Options{Operations: []string{"*"}, BaseURL: "https://a.example"})
	if err != nil || len(defs) != 1 {
		t.Errorf("Import = %d definitions, %v, want 1", len(defs), err)
	}
}
