package config

import (
	"errors"
	"strings"
	"testing"
)

// FuzzParse checks that every text is a configuration or problems with a place in it;
// never a panic, never neither.
//
// Holds: operator/configuration-errors
func FuzzParse(f *testing.F) {
	f.Add(whole)
	for _, s := range []string{"", "- a\n", "a: &x [*x]\n", "<<: {}\n", "? [a]\n: b\n", "!!map {}: 1\n", "tls: {cert: [\n",
		"listen: ${X}$$\n", "state: |\n  x\n", "---\n---\n", "tenants: [{id: a, enabled: no, keys: [{notAfter: x}]}]\n", "limits: {maxBodyBytes: -1}\n", "~: ~\n"} {
		f.Add(s)
	}
	dir := folder(f)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 { // the YAML parser's time grows with the square of nesting
			return
		}
		c, err := parse(dir+"/sangate.yaml", []byte(text), nil)
		problems, _ := errors.AsType[Problems](err)
		if (c == nil) != (len(problems) > 0) {
			t.Fatalf("parse = %v, %v", c, err)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Col < 1 || p.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+2 {
				t.Errorf("no place in the file: %v", p)
			}
		}
	})
}
