package httptool_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/httptool"
)

func TestBadDefinitions(t *testing.T) {
	good := func(edit func(*httptool.Definition)) httptool.Definition {
		d := httptool.Definition{Name: "t", Description: "d", Input: json.RawMessage(input), Request: httptool.Request{URL: "https://api.example/x"}}
		edit(&d)
		return d
	}
	for name, tt := range map[string]struct {
		def        httptool.Definition
		path, want string
	}{
		"name":             {good(func(d *httptool.Definition) { d.Name = "a b" }), "name", "letters"},
		"no description":   {good(func(d *httptool.Definition) { d.Description = "" }), "description", "model"},
		"input":            {good(func(d *httptool.Definition) { d.Input = json.RawMessage(`{"type":"array"}`) }), "input", "object"},
		"output":           {good(func(d *httptool.Definition) { d.Output = json.RawMessage(`{"type":7}`) }), "output", ""},
		"method":           {good(func(d *httptool.Definition) { d.Request.Method = "CONNECT" }), "request.method", "use GET"},
		"clear":            {good(func(d *httptool.Definition) { d.Request.URL = "http://api.example/" }), "request.url", "https"},
		"host from args":   {good(func(d *httptool.Definition) { d.Request.URL = "https://{args.id}.example/" }), "request.url", "the tenant alone"},
		"host from secret": {good(func(d *httptool.Definition) { d.Request.URL = "https://x.{secret}/" }), "request.url", "the tenant alone"},
		"port from args":   {good(func(d *httptool.Definition) { d.Request.URL = "https://x.example:{args.n}/" }), "request.url", ""},
		"whole URL":        {good(func(d *httptool.Definition) { d.Request.URL = "{args.id}" }), "request.url", "the tenant alone"},
		"query in URL":     {good(func(d *httptool.Definition) { d.Request.URL += "?a={args.id}" }), "request.url", "query"},
		"climbs":           {good(func(d *httptool.Definition) { d.Request.URL += "/../y" }), "request.url", "leave"},
		"no end":           {good(func(d *httptool.Definition) { d.Request.URL += "/{args.id" }), "request.url", "does not end"},
		"list in path":     {good(func(d *httptool.Definition) { d.Request.URL += "/{args.list}" }), "request.url", "another type"},
		"no such argument": {good(func(d *httptool.Definition) { d.Request.Query = map[string]string{"q": "args.ids"} }), "request.query.q", "undefined field 'ids'"},
		"Host":             {good(func(d *httptool.Definition) { d.Request.Headers = map[string]string{"host": `"x"`} }), "request.headers.host", "not set here"},
		"number in header": {good(func(d *httptool.Definition) { d.Request.Headers = map[string]string{"X-N": `args.n`} }), "request.headers.X-N", "another type"},
		"GET with a body":  {good(func(d *httptool.Definition) { d.Request.Body = "args" }), "request.body", "does not go with GET"},
		"body type": {good(func(d *httptool.Definition) {
			d.Request.Method, d.Request.Body, d.Request.BodyType = "POST", "args", "xml"
		}), "request.bodyType", "json, form or text"},
		"form of a text": {good(func(d *httptool.Definition) {
			d.Request.Method, d.Request.Body, d.Request.BodyType = "POST", "args.id", "form"
		}), "request.body", "another type"},
		"response too early": {good(func(d *httptool.Definition) { d.Request.Query = map[string]string{"q": "response.text"} }), "request.query.q", "undeclared"},
		"secret told":        {good(func(d *httptool.Definition) { d.Credential, d.Response = "c", "secret" }), "response", "not told"},
		"secret in error":    {good(func(d *httptool.Definition) { d.Credential, d.Errors = "c", map[string]string{"404": "secret"} }), "errors.404", "not told"},
		"secret of nobody":   {good(func(d *httptool.Definition) { d.Request.Query = map[string]string{"k": "secret"} }), "credential", "say which"},
		"status":             {good(func(d *httptool.Definition) { d.Errors = map[string]string{"4x": `"x"`} }), "errors.4x", "4xx"},
		"error of a number":  {good(func(d *httptool.Definition) { d.Errors = map[string]string{"404": `1`} }), "errors.404", "another type"},
		"timeout":            {good(func(d *httptool.Definition) { d.Timeout = time.Hour }), "timeout", "at most"},
	} {
		_, errs := httptool.Compile(tt.def)
		if len(errs) != 1 || errs[0].Path != tt.path || !strings.Contains(errs[0].Error(), tt.want) {
			t.Errorf("%s: %v; want %s: …%s…", name, errs, tt.path, tt.want)
		}
	}
	if _, errs := httptool.Compile(good(func(*httptool.Definition) {})); len(errs) > 0 {
		t.Errorf("the good one: %v", errs)
	}
}
