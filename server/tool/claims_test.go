package tool_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/tool"
)

// offerOf makes an offer of one tool, resource, template and prompt for each name.
func offerOf(source string, names ...string) *tool.Offer {
	o := &tool.Offer{Source: source}
	for _, n := range names {
		o.Tools = append(o.Tools, &tool.Tool{Name: n, Upstream: source})
		o.Resources = append(o.Resources, &tool.Resource{Name: n, URI: "r:" + n, Upstream: source},
			&tool.Resource{Name: n, URI: "t:" + n, Template: true, Upstream: source})
		o.Prompts = append(o.Prompts, &tool.Prompt{Name: n, Upstream: source})
	}
	return o
}

// owners tells who has each name of a kind; they must agree over all kinds.
func owners(t *testing.T, c *tool.Catalog, names ...string) string {
	t.Helper()
	var out []string
	for _, n := range names {
		by := "nobody"
		if tl := c.Lookup(n); tl != nil {
			by = tl.Upstream
		}
		for _, kind := range c.OwnersForTest(n) {
			if kind != by {
				t.Errorf("%s: the tool is %s's, another kind %s's", n, by, kind)
			}
		}
		out = append(out, fmt.Sprintf("%s:%s", n, by))
	}
	return strings.Join(out, " ")
}

// TestNamesStay: a tool, resource, template or prompt stays with the source that has it
// for as long as that one offers it or was not asked yet.
//
// Holds: upstream/name-of-another
func TestNamesStay(t *testing.T) {
	static, err := tool.NewCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	var claims tool.Claims
	for _, step := range []struct {
		name    string
		offers  []*tool.Offer
		sources string
		want    string
		twice   int // in each of the four kinds
	}{
		{"the first to offer has it", []*tool.Offer{offerOf("b", "x")}, "a b", "x:b y:nobody", 0},
		{"an earlier one is a newcomer", []*tool.Offer{offerOf("a", "x", "y"), offerOf("b", "x")}, "a b", "x:b y:a", 1},
		{"a later one as well", []*tool.Offer{offerOf("a", "x", "y"), offerOf("b", "x", "y")}, "a b", "x:b y:a", 2},
		{"not asked since a reload", []*tool.Offer{offerOf("a", "x", "y")}, "a b", "x:nobody y:a", 1},
		{"asked again", []*tool.Offer{offerOf("a", "x", "y"), offerOf("b", "x", "y")}, "b a", "x:b y:a", 2},
		{"no longer offered", []*tool.Offer{offerOf("a", "x", "y"), offerOf("b")}, "a b", "x:a y:a", 0},
		{"offered again", []*tool.Offer{offerOf("a", "x", "y"), offerOf("b", "x")}, "a b", "x:a y:a", 1},
		{"no longer configured", []*tool.Offer{offerOf("b", "x", "y")}, "b", "x:b y:b", 0},
	} {
		joined, next, twice := static.Join(step.offers, strings.Fields(step.sources), claims)
		if got := owners(t, joined, "x", "y"); got != step.want {
			t.Errorf("%s: got %s, want %s", step.name, got, step.want)
		}
		for _, kind := range []string{"tool", "resource", "resource template", "prompt"} {
			n := 0
			for _, c := range twice {
				if c.Kind == kind {
					n++
				}
			}
			if n != step.twice {
				t.Errorf("%s: %d of kind %s left out, want %d", step.name, n, kind, step.twice)
			}
		}
		claims = next
	}
}

// TestOwnNamesFirst: what the gate itself has goes before every source, and a source
// that has a name twice keeps the first.
func TestOwnNamesFirst(t *testing.T) {
	static, err := tool.NewCatalog([]*tool.Tool{{Name: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	own := &tool.Offer{Prompts: []*tool.Prompt{{Name: "x"}}, Resources: []*tool.Resource{{Name: "x", URI: "r:x"}, {Name: "x", URI: "t:x", Template: true}}}
	joined, claims, twice := static.Join([]*tool.Offer{own, offerOf("a", "x", "y", "y")}, []string{"a"}, nil)
	if got := owners(t, joined, "x", "y"); got != "x: y:a" {
		t.Errorf("got %s", got)
	}
	if len(twice) != 8 || !slices.Contains(twice, tool.Collision{Kind: "prompt", Name: "x", Source: "a"}) ||
		!slices.Contains(twice, tool.Collision{Kind: "tool", Name: "y", Source: "a", With: "a"}) {
		t.Errorf("left out: %v", twice)
	}
	before, _, _ := static.Join([]*tool.Offer{offerOf("a", "z")}, []string{"a"}, claims)
	if before.Lookup("z") == nil {
		t.Error("another name is not taken")
	}
}
