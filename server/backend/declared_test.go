package backend

import (
	"fmt"
	"testing"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/document"
	"github.com/sangate/sangate/server/httptool"
)

// TestDocumentKeepsItsNames: a tool stays with the OpenAPI document that has it, for as
// long as that one has it or was not read again, wherever the other one stands.
//
// Holds: document/name-of-another
func TestDocumentKeepsItsNames(t *testing.T) {
	program := func(name string) *httptool.Program {
		p, problems := httptool.Compile(httptool.Definition{Name: name, Description: "d",
			Request: httptool.Request{Method: "GET", URL: "https://api.example/x"}})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return p
	}
	result := func(name string, names ...string) *document.Result {
		r := &document.Result{Name: name}
		for _, n := range names {
			r.Tools = append(r.Tools, program(n))
		}
		return r
	}
	o := newOffers(&Plan{conf: &config.Config{}})
	held := make(map[string]string)
	for _, step := range []struct {
		name    string
		results []*document.Result
		want    string
	}{
		{"first", []*document.Result{result("a"), result("b", "x")}, "a[] b[x]"},
		{"an earlier newcomer", []*document.Result{result("a", "x", "y"), result("b", "x")}, "a[y] b[x]"},
		{"not read again yet", []*document.Result{result("a", "x", "y"), result("b")}, "a[y] b[]"},
		{"read again", []*document.Result{result("a", "x", "y"), result("b", "x", "y")}, "a[y] b[x]"},
		{"given up", []*document.Result{result("a", "x", "y"), result("b", "z")}, "a[x y] b[z]"},
		{"removed", []*document.Result{result("b", "x", "y")}, "b[x y]"},
	} {
		held = holders(step.results, held)
		offers, states := o.of(step.results, held)
		keep(held, states)
		var got string
		for i, d := range states {
			if i > 0 {
				got += " "
			}
			got += fmt.Sprint(d.Name, d.Tools)
			if len(offers[i].Tools) != len(d.Tools) || offers[i].Source != DocumentSource(d.Name) {
				t.Errorf("%s: the offer of %s has %d tools of %q", step.name, d.Name, len(offers[i].Tools), offers[i].Source)
			}
		}
		if got != step.want {
			t.Errorf("%s: got %s, want %s", step.name, got, step.want)
		}
	}
}
