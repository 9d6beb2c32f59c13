package openapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
			if _, _, err := imported(t, []byte(document), openapi.Options{Operations: []string{"*"}, BaseURL: "https://a.example"}); err == nil {
				t.Error("Import accepted it, want an error")
			}
		})
	}
}

func TestRecursiveSchemaImported(t *testing.T) {
	const document = `{"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/a":{"post":{"operationId":"a","requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Tree"}}}},"responses":{"200":{"description":"ok"}}}}},
		"components":{"schemas":{"Tree":{"type":"object","properties":{"left":{"$ref":"#/components/schemas/Tree"}}}}}}`
	defs, _, err := imported(t, []byte(document), openapi.Options{Operations: []string{"*"}, BaseURL: "https://a.example"})
	if err != nil || len(defs) != 1 {
		t.Errorf("Import = %d definitions, %v, want 1", len(defs), err)
	}
}

// operation is a document whose one operation takes a schema.
func operation(schema, rest string) string {
	return `{"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/a":{"get":{"operationId":"a","parameters":[{"in":"query","name":"q","schema":` + schema +
		`}],"responses":{"200":{"description":"ok"}}}}}` + rest + `}`
}

// TestLargeDocumentsRefused checks documents that would take gigabytes or minutes.
//
// Holds: document/openapi-bounded
func TestLargeDocumentsRefused(t *testing.T) {
	for name, tt := range map[string]struct{ document, want string }{
		"bytes":       {operation("{}", strings.Repeat(" ", openapi.MaxDocument)), "larger than"},
		"values":      {operation("{}", `,"x-a":[`+strings.Repeat("{},", 600_000)+`0]`), "more than 500000 values"},
		"same key":    {"openapi: 3.0.3\n" + strings.Repeat("x-a: 1\n", 3000), `the key "x-a" stands here twice`},
		"directives":  {strings.Repeat("%TAG !a! tag:a\n", 1000) + "---\na: 1\n", "lines begin with %"},
		"CR values":   {"openapi: 3.0.3\rx-a:\r" + strings.Repeat("-\r", 600_000), "more than 500000 values"},
		"NEL values":  {"openapi: 3.0.3\nx-a:\n" + strings.Repeat("-\u0085", 600_000), "more than 500000 values"},
		"UTF-16":      {"\xff\xfe" + strings.Repeat("-\x00 \x00", 1000), "write it in UTF-8"},
		"merges":      {"a: &a {b: 1, c: 2}\nd: {<<: [" + strings.Repeat("*a,", 200_000) + "]}\n", "taken in by <<"},
		"own alias":   {"a: &a\n  <<: *a\n", "contains itself"},
		"YAML values": {"openapi: 3.0.3\nx-a:\n" + strings.Repeat("- a\n", 300_000), "more than 500000 values"},
		"alias bytes": {"openapi: 3.0.3\nx-s: &a " + strings.Repeat("a", 1<<20) + "\nx-a:\n" + strings.Repeat("- *a\n", 1000), "aliases expanded"},
		"objects":     {operation(`{"allOf":[`+strings.Repeat("{},", 60_000)+`{}]}`, ""), "more than 50000 objects"},
		"used text":   {operation(`{"title":"`+strings.Repeat("x", 17<<20)+`"}`, ""), "need more than"},
		"parameters":  {strings.Replace(operation("{}", ""), `"parameters":[`, `"parameters":[`+parameters(300), 1), "more than 256 parameters"},
		"server": {strings.Replace(operation("{}", ""), `"info"`, `"servers":[{"url":"https://{a}.example","variables":{"a":{"default":"`+strings.Repeat("x", 5000)+`"}}}],"info"`, 1),
			"its server has more than"},
	} {
		opts := openapi.Options{Operations: []string{"*"}, BaseURL: "https://a.example"}
		if name == "server" {
			opts.BaseURL = ""
		}
		if _, _, err := imported(t, []byte(tt.document), opts); err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 2000 {
			t.Errorf("%s: %.300v, want %q", name, err, tt.want)
		}
	}
}

func parameters(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"in":"query","name":"p%d","schema":{}},`, i)
	}
	return b.String()
}

// TestNoSecondReading checks that JSON which is no OpenAPI document is not read again as YAML, which would compare each
// of its keys with each other one.
//
// Holds: document/openapi-bounded
func TestNoSecondReading(t *testing.T) {
	for _, document := range []string{`{"openapi":5,"info":{"a":1},"paths":{}}`, strings.Replace(operation("{}", ""), `"parameters":[`, `"parameters":5,"x-a":[`, 1)} {
		_, _, err := imported(t, []byte(document), openapi.Options{Operations: []string{"*"}, BaseURL: "https://a.example"})
		if err == nil || strings.Contains(err.Error(), "yaml") {
			t.Errorf("%v, want an error of JSON alone", err)
		}
	}
}

// TestPathIsNoExpression checks that a path cannot say that what is in its braces is an expression of the import.
//
// Holds: document/openapi-host
func TestPathIsNoExpression(t *testing.T) {
	document := strings.Replace(operation("{}", ""), `"/a":`, `"/a/{\u0000secret}":`, 1)
	_, skipped, err := imported(t, []byte(document), openapi.Options{Operations: []string{"*"}, BaseURL: "https://a.example", Credential: "c"})
	if err == nil || len(skipped) != 1 || !strings.Contains(skipped[0].Why, "control character") {
		t.Errorf("%v, %v, want the operation left out", skipped, err)
	}
}

// TestCredentialStaysWithOrigin checks that a document from a URL has a credential sent to no other server than its own.
//
// Holds: document/openapi-host
func TestCredentialStaysWithOrigin(t *testing.T) {
	for name, tt := range map[string]struct {
		server string
		opts   openapi.Options
		taken  bool
	}{
		"own server":      {"https://A.example:443/v1", openapi.Options{From: "https://a.example/openapi.json", Credential: "c"}, true},
		"another":         {"https://b.example", openapi.Options{From: "https://a.example/openapi.json", Credential: "c"}, false},
		"another, by id":  {"https://b.example", openapi.Options{From: "https://a.example/openapi.json", CredentialID: 1}, false},
		"another port":    {"https://a.example:8443", openapi.Options{From: "https://a.example/openapi.json", Credential: "c"}, false},
		"by a variable":   {"https://{h}.example", openapi.Options{From: "https://a.example/openapi.json", Credential: "c"}, false},
		"no credential":   {"https://b.example", openapi.Options{From: "https://a.example/openapi.json"}, true},
		"baseUrl":         {"https://b.example", openapi.Options{From: "https://a.example/openapi.json", Credential: "c", BaseURL: "https://c.example"}, true},
		"file of our own": {"https://b.example", openapi.Options{Credential: "c"}, true},
	} {
		tt.opts.Operations = []string{"*"}
		document := strings.Replace(operation("{}", ""), `"paths"`, `"servers":[{"url":"`+tt.server+`","variables":{"h":{"default":"b"}}}],"paths"`, 1)
		defs, skipped, err := imported(t, []byte(document), tt.opts)
		if (len(defs) == 1) != tt.taken {
			t.Errorf("%s: %d tools, %v, %v", name, len(defs), skipped, err)
		}
	}
}

// TestUnusedPartsIgnored checks that what no chosen operation needs does not count.
func TestUnusedPartsIgnored(t *testing.T) {
	opts := openapi.Options{Operations: []string{"a"}, BaseURL: "https://a.example"}
	for name, tt := range map[string]struct {
		document, want string
	}{
		"other operation": {operation(`{"$ref":"#/components/schemas/A"}`, `,"x":0,"components":{"schemas":{"A":{"items":{"$ref":"#/components/schemas/B"}},"B":{"title":"found"},"C":{"allOf":[`+strings.Repeat("{},", 60_000)+`{}]}}}`), "found"},
		"reference into a path": {operation(`{"$ref":"#/paths/~1b/get/parameters/0/schema"}`, `,"x":0`)[:len(operation(`{"$ref":"#/paths/~1b/get/parameters/0/schema"}`, `,"x":0`))-len(`},"x":0}`)] +
			`,"/b":{"get":{"operationId":"b","parameters":[{"in":"query","name":"q","schema":{"title":"found"}}]}}}}`, `"q"`},
		"mapping": {operation(`{"title":"found","oneOf":[{"$ref":"#/components/schemas/A"}],"discriminator":{"propertyName":"k","mapping":{"a":"#/components/schemas/A"}}}`,
			`,"components":{"schemas":{"A":{"type":"object"}}}`), "found"},
		"item by reference": {`{"openapi":"3.1.0","info":{"title":"t","version":"1"},"paths":{"/a":{"$ref":"#/components/pathItems/x"}},"components":{"pathItems":{"x":{"get":{"operationId":"a","parameters":[{"in":"query","name":"q","schema":{"title":"found"}}]}}}}}`, "found"},
		"YAML of its own":   {"openapi: 3.0.3\ninfo: {title: t, version: '1', date: 2020-01-01}\npaths: {/a: {get: {operationId: a, parameters: [{in: query, name: q, schema: {title: found, maximum: 12345678901234567890}}], responses: {200: {description: ok}}}}}\n", "12345678901234567"},
	} {
		defs, skipped, err := imported(t, []byte(tt.document), opts)
		if err != nil || len(defs) != 1 || !strings.Contains(string(defs[0].Input), tt.want) {
			t.Errorf("%s: %v, %v, %v, want a tool with %q", name, defs, skipped, err, tt.want)
		}
	}
}

// TestLongChainOfSchemas checks that schemas which refer on and on do not overflow the
// stack.
//
// Holds: document/openapi-bounded
func TestLongChainOfSchemas(t *testing.T) {
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, `"s%d":{"items":{"$ref":"#/components/schemas/s%d"}},`, i, i+1)
	}
	document := operation(`{"$ref":"#/components/schemas/s0"}`, `,"components":{"schemas":{`+b.String()+`"s20000":{}}}`)
	defs, _, err := imported(t, []byte(document), openapi.Options{Operations: []string{"*"}, BaseURL: "https://a.example"})
	if err == nil && len(defs) != 1 {
		t.Errorf("%d definitions, want 1", len(defs))
	}
}

// TestImportEndsWithContext checks that the work on operations stops.
func TestImportEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := openapi.Import(ctx, slog.New(slog.DiscardHandler), []byte(operation("{}", "")), openapi.Options{Operations: []string{"*"}, BaseURL: "https://a.example"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Import = %v, want %v", err, context.Canceled)
	}
}
