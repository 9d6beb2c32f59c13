package config

import (
	"errors"
	"strings"
	"testing"
)

// TestDeepConfigurationRefused checks that nesting is refused at its place before the
// parser sees it.
//
// Holds: document/configuration-bounded
func TestDeepConfigurationRefused(t *testing.T) {
	dir := folder(t)
	blocks := ""
	for i := range 2000 {
		blocks += strings.Repeat(" ", i) + "a:\n"
	}
	for name, text := range map[string]string{
		"flow": "tenants: " + strings.Repeat("[", 200_000), "braces": strings.Repeat("{a: ", 100_000), "lines": strings.Repeat("[\n", 100_000),
		"entries": strings.Repeat("- ", 100_000), "keys": strings.Repeat("? ", 100_000), "blocks": blocks,
		"long line": "listen: " + strings.Repeat("a", maxLine+1),
	} {
		_, err := parse(dir+"/sangate.yaml", []byte(text), nil)
		problems, _ := errors.AsType[Problems](err)
		if len(problems) != 1 || problems[0].Line < 1 || problems[0].Col < 1 || !strings.Contains(problems[0].Message, "than") {
			t.Errorf("%s: %.200v, want one problem that names the bound and the place", name, err)
		}
	}
	for _, set := range []string{"tenants=" + strings.Repeat("[", 200_000), strings.Repeat("a.", 100_000) + "b=c"} {
		if _, err := parse(dir+"/sangate.yaml", []byte(whole), []string{set}); err == nil || len(err.Error()) > 500 {
			t.Errorf("--set %.20s…: %.200v, want a short error", set, err)
		}
	}
}

// TestErrorsHideInterpolatedValues checks each kind of value, in errors of this package
// and of the libraries that it uses.
//
// Holds: operator/interpolated-values-hidden
func TestErrorsHideInterpolatedValues(t *testing.T) {
	const secret = "hunter2-\"q\" zz%zz+(x/"
	t.Setenv("SECRET", secret)
	dir := folder(t)
	for _, line := range []string{
		"listen: '${SECRET}'", "listen: 'a:${SECRET}'", "admin: '${SECRET}'", "adminPprof: '${SECRET}'", "log: {level: '${SECRET}'}", "log: {format: '${SECRET}'}",
		"limits: {maxBodyBytes: '${SECRET}'}", "drainTimeout: '5${SECRET}'", "limits: {toolTimeout: '5${SECRET}'}",
		"egress: {proxy: 'http://u:${SECRET}@h:x'}", "egress: {caFile: '${SECRET}'}", "egress: {allow: ['${SECRET}']}",
		"tls: {cert: '${SECRET}', key: '${SECRET}'}", "tenants: [{id: '${SECRET}', sans: ['${SECRET}']}]",
		"issuers: [{issuer: 'https://${SECRET}', jwksURL: 'https://a:${SECRET}'}]", "mcpServers: [{name: '${SECRET}', url: 'https://a:${SECRET}'}]",
		"tools: {http: [{name: a, request: {method: GET, url: 'https://a/{${SECRET}}'}, response: '${SECRET} +'}]}",
		"tools: {openapi: [{name: a, document: '${SECRET}', operations: ['*']}]}", "credentials: {kek: '${SECRET}'}", "state: '${SECRET}://'",
	} {
		_, err := parseFrom(dir+"/sangate.yaml", strings.NewReader(line+"\n"), nil, true)
		if err == nil {
			t.Errorf("%s: no error, want one", line)
			continue
		}
		for _, part := range []string{"hunter2", "zz+(x", "zz%zz", "zz%25zz"} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error repeats %q: %v", line, part, err)
			}
		}
	}
}
