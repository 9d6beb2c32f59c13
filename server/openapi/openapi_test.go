package openapi_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/openapi"
)

const small = `
openapi: 3.1.0
info: {title: Pets, version: "1"}
servers: [{url: "https://{region}.pets.example/v{v}", variables: {region: {default: eu}, v: {default: "2"}}}]
security: [{key: []}]
components:
  securitySchemes: {key: {type: apiKey, in: query, name: api_key}}
  schemas:
    Pet:
      type: object
      required: [name]
      properties:
        name: {type: string, pattern: "^(?!x).*$"}
        parent: {$ref: "#/components/schemas/Pet"}
        tag: {type: [string, "null"]}
        example: {type: string, description: a property of that name}
paths:
  /pets/{pet-id}/toys/{in}:
    parameters: [{name: pet-id, in: path, required: true, schema: {type: integer}}]
    get:
      operationId: toys.get / one
      tags: [toys]
      summary: Gets a toy.
      parameters:
        - {name: in, in: path, required: true, schema: {type: string}}
        - {name: tags, in: query, explode: false, schema: {type: array, items: {type: integer}}}
        - {name: ids, in: query, schema: {type: array, items: {type: string}}}
        - {name: filter, in: query, style: deepObject, schema: {type: object, properties: {size: {type: integer}, color: {type: string}}}}
        - {name: X-Trace, in: header, schema: {type: boolean}}
        - {name: session, in: cookie, schema: {type: string}}
        - {name: Authorization, in: header, required: true, schema: {type: string}}
      responses: {"200": {description: ok}}
  /pets:
    post:
      operationId: addPet
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Pet"}}}}
      responses: {"201": {description: ok}}
    put:
      operationId: upload
      requestBody: {required: true, content: {application/octet-stream: {schema: {type: string, format: binary}}}}
      responses: {"201": {description: ok}}
    delete:
      responses: {"204": {description: gone}}
      tags: [toys]
`

// imported imports a document and returns the definitions of its tools.
func imported(t *testing.T, document []byte, opts openapi.Options) (defs []httptool.Definition, skipped []openapi.Skipped, err error) {
	t.Helper()
	programs, skipped, err := openapi.Import(t.Context(), slog.New(slog.DiscardHandler), document, opts)
	for _, p := range programs {
		defs = append(defs, p.Definition())
	}
	return defs, skipped, err
}

func byName(t *testing.T, defs []httptool.Definition) map[string]httptool.Definition {
	t.Helper()
	out := make(map[string]httptool.Definition)
	for _, d := range defs {
		out[d.Name] = d
	}
	return out
}

func TestImport(t *testing.T) {
	defs, skipped, err := imported(t, []byte(small), openapi.Options{Prefix: "p_", Operations: []string{"add*", "upload"}, Tags: []string{"toys"}, Credential: "pets"})
	if err != nil {
		t.Fatal(err)
	}
	if len(skipped) != 1 || skipped[0].Operation != "upload" || !strings.Contains(skipped[0].Why, "body") {
		t.Errorf("skipped: %v", skipped)
	}
	got := byName(t, defs)
	toy := got["p_toys.get_one"]
	if toy.Description != "Gets a toy." || toy.Request.URL != "https://eu.pets.example/v2/pets/{string(args.pet_id)}/toys/{args.p_in}" || toy.Credential != "pets" {
		t.Errorf("the toy: %+v", toy)
	}
	for name, want := range map[string]string{"tags": `has(args.tags) ? dyn(args.tags.map(i, string(i)).join(",")) : null`, "ids": "args.?ids", "filter[size]": "args.?filter.?size", "filter[color]": "args.?filter.?color", "api_key": "secret"} {
		if toy.Request.Query[name] != want {
			t.Errorf("query %s: %q, want %q", name, toy.Request.Query[name], want)
		}
	}
	if toy.Request.Headers["X-Trace"] == "" || len(toy.Request.Headers) != 1 {
		t.Errorf("headers: %v", toy.Request.Headers)
	}
	var schema struct {
		Required   []string
		Properties map[string]any
		Defs       map[string]map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(toy.Input, &schema); err != nil || strings.Join(schema.Required, " ") != "p_in pet_id" || len(schema.Properties) != 6 {
		t.Errorf("the toy's arguments: %s", toy.Input)
	}
	pet := got["p_addPet"]
	schema.Properties, schema.Defs = nil, nil
	if err := json.Unmarshal(pet.Input, &schema); err != nil {
		t.Fatal(err)
	}
	properties, _ := schema.Defs["Pet"]["properties"].(map[string]any)
	name, _ := properties["name"].(map[string]any)
	if pet.Request.Body != "args.body" || len(properties) != 4 || name["pattern"] != nil || properties["example"] == nil {
		t.Errorf("the pet: %s", pet.Input)
	}
	if d, ok := got["p_delete_pets"]; !ok || d.Description != "DELETE /pets" {
		t.Errorf("without an id: %+v", got)
	}
	defs, _, err = imported(t, []byte(small), openapi.Options{Operations: []string{"addPet"}, BaseURL: "https://pets.internal/"})
	if err != nil || defs[0].Request.URL != "https://pets.internal/pets" {
		t.Errorf("with baseUrl: %v, %v", defs, err)
	}
}

func TestBadDocuments(t *testing.T) {
	for name, tt := range map[string]struct{ doc, want string }{
		"nothing":       {"", "OpenAPI"},
		"no YAML":       {"{", "OpenAPI"},
		"Swagger":       {`{"swagger":"2.0","info":{"title":"x","version":"1"},"paths":{}}`, "version 3"},
		"none chosen":   {strings.ReplaceAll(small, "operationId: addPet", "operationId: other"), "none of its operations"},
		"a file":        {strings.ReplaceAll(small, `"#/components/schemas/Pet"`, `"/etc/passwd"`), "OpenAPI"},
		"the metadata":  {strings.ReplaceAll(small, `"#/components/schemas/Pet"`, `"http://169.254.169.254/x"`), "OpenAPI"},
		"plain http":    {strings.ReplaceAll(small, "https://{region}", "http://{region}"), "set baseUrl"},
		"no server":     {strings.ReplaceAll(small, "servers:", "x-servers:"), "set baseUrl"},
		"relative":      {strings.ReplaceAll(small, "https://{region}.pets.example", ""), "set baseUrl"},
		"host by value": {strings.ReplaceAll(small, "variables: {region: {default: eu}, v: {default: \"2\"}}", "x-v: 1"), "set baseUrl"},
	} {
		defs, _, err := imported(t, []byte(tt.doc), openapi.Options{Operations: []string{"addPet"}})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v", name, defs, err)
		}
	}
}

// The public documents of three large APIs, as another library carries them for
// its own tests: every operation becomes a tool that compiles, or is named with
// the reason why not.
func TestLargeDocuments(t *testing.T) {
	out, err := exec.Command("go", "mod", "download", "-json", "github.com/pb33f/libopenapi@v0.42.3").Output()
	var module struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(out, &module)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		atLeast int
		base    string
	}{"stripe.yaml": {400, ""}, "asana.yaml": {150, ""}, "docusignv3.1.json": {300, ""}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := os.ReadFile(filepath.Join(module.Dir, "test_specs", name))
			if err != nil {
				t.Fatal(err)
			}
			defs, skipped, err := imported(t, doc, openapi.Options{Operations: []string{"*"}, BaseURL: tt.base, Credential: "c"})
			if err != nil {
				t.Fatal(err)
			}
			whys := make(map[string]int)
			for _, s := range skipped {
				whys[s.Why]++
			}
			t.Logf("%d tools, %d skipped: %v", len(defs), len(skipped), whys)
			if len(defs) < tt.atLeast {
				t.Errorf("%d tools, want %d", len(defs), tt.atLeast)
			}
			seen := make(map[string]bool)
			for i, d := range defs {
				if len(d.Input) > 128<<10 {
					t.Errorf("%s: %d bytes of schema", d.Name, len(d.Input))
				}
				if i%10 != 0 { // Import has compiled each already
					continue
				}
				p, errs := httptool.Compile(d)
				if len(errs) > 0 || seen[d.Name] {
					t.Fatalf("%s: %v", d.Name, errs)
				}
				seen[d.Name] = true
				if _, err := p.Tool(httptool.Options{}); err != nil {
					t.Errorf("%s: %v", d.Name, err)
				}
			}
		})
	}
}
