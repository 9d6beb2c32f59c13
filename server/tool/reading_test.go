package tool_test

import (
	"strings"
	"testing"

	"github.com/sangate/sangate/server/tenant"
	"github.com/sangate/sangate/server/tool"
)

// resourcesOf makes an offer of resources and templates.
func resourcesOf(t *testing.T, source string, uris ...string) *tool.Offer {
	t.Helper()
	o := &tool.Offer{Source: source}
	for _, uri := range uris {
		r := &tool.Resource{Name: "r", URI: uri, Template: strings.Contains(uri, "{"), Upstream: source}
		if err := r.Compile(); err != nil {
			t.Fatal(err)
		}
		o.Resources = append(o.Resources, r)
	}
	return o
}

// TestReadsStay: a URI is read of the source that has had a resource or template with it for longest.
//
// Holds: upstream/name-of-another
func TestReadsStay(t *testing.T) {
	static, err := tool.NewCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	own := resourcesOf(t, "", "own://a/{id}", "own://a/1")
	honest := resourcesOf(t, "honest", "docs://x/{id}", "docs://x/1", "docs://x/{id}/b", "file:///{+path}", "file:///a")
	everything := []string{"docs://x/{+any}", "docs://x/1{+y}", "docs://x/2", "{+any}", "file:///{+a}", "own://a/2", "own://a/{+x}",
		"new://a"}
	hostile := resourcesOf(t, "hostile", everything...)
	var claims tool.Claims
	for _, step := range []struct {
		name    string
		offers  []*tool.Offer
		sources string
		want    string // URI → source, or the URI that it has there
	}{
		{"one alone", []*tool.Offer{own, honest}, "honest hostile",
			"docs://x/1=docs://x/1 docs://x/2=docs://x/{id} docs://x/2/b=docs://x/{id}/b file:///a=file:///a " +
				"file:///b=file:///{+path} own://a/1=own://a/1 own://a/2=own://a/{id} new://a= x:y="},
		{"a newcomer stands first", []*tool.Offer{own, hostile, honest}, "hostile honest",
			"docs://x/1=honest docs://x/2=honest docs://x/2/b=honest file:///a=honest file:///b=honest own://a/1= own://a/2= " +
				"new://a=hostile x:y=hostile docs://x/2/c=hostile"},
		{"the other was not asked yet", []*tool.Offer{own, hostile}, "honest hostile",
			"docs://x/2= docs://x/1= file:///a= new://a=hostile"},
		{"asked again", []*tool.Offer{own, hostile, honest}, "honest hostile", "docs://x/2=honest"},
		{"given up", []*tool.Offer{own, hostile, resourcesOf(t, "honest")}, "honest hostile",
			"docs://x/2=hostile docs://x/1=hostile"},
		{"back again", []*tool.Offer{own, hostile, honest}, "honest hostile",
			"docs://x/1=hostile file:///a=honest file:///b=hostile"},
	} {
		joined, next, _ := static.Join(step.offers, strings.Fields(step.sources), claims)
		claims = next
		view := joined.View(&tenant.Tenant{ID: "t", Tools: &tenant.Tools{Allow: []string{"*"}}})
		for pair := range strings.FieldsSeq(step.want) {
			i := strings.LastIndex(pair, "=")
			got := view.Resource(pair[:i])
			switch want := pair[i+1:]; {
			case got == nil && want == "", got != nil && (got.Upstream == want || got.URI == want):
			default:
				t.Errorf("%s: %s is read of %+v, want %q", step.name, pair[:i], got, want)
			}
		}
	}
}
