package config

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write deploy/sangate.schema.json anew")

const schemaFile = "../../deploy/sangate.schema.json"

// The schema in deploy is what the code says, and takes the configuration that
// docs/configuration.md shows.
func TestSchema(t *testing.T) {
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("deploy/sangate.schema.json is not what the code says; run go test ./server/config -run TestSchema -update")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///s", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("mem:///s")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"the page": pageExample(t), "an unknown key": "state: x\ntls: {}\ntenants: []\nlisten_addr: x\n"} {
		asJSON, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); (err == nil) != (name == "the page") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The example of docs/configuration.md is read without an unknown key, and all
// that is wrong with it here is that its files are not there.
func TestPageExample(t *testing.T) {
	d := newDecoder("page", "/")
	c := defaults()
	d.document([]byte(pageExample(t)), c)
	if len(d.problems) > 0 {
		t.Fatal(d.problems)
	}
	d.checkTenants(c)
	d.checkLimits(&c.Limits)
	if len(d.problems) > 0 {
		t.Error(d.problems)
	}
	if len(c.Tenants) != 2 || len(c.Keys) != 1 || c.Limits != defaults().Limits {
		t.Errorf("%d tenants, %d keys, limits %+v; the page shows the defaults", len(c.Tenants), len(c.Keys), c.Limits)
	}
}

func pageExample(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(page, []byte("```yaml\n"))
	example, _, ok := bytes.Cut(rest, []byte("```"))
	if !ok {
		t.Fatal("docs/configuration.md has no yaml block")
	}
	return string(example)
}
