package tenant

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/pkitest"
)

func table(t testing.TB, tenants ...*Tenant) *Table {
	t.Helper()
	tb, err := NewTable(tenants)
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func tn(id string, sans ...string) *Tenant {
	return &Tenant{ID: id, SANs: sans, Enabled: true, SecondFactor: Required}
}

func san(s string) pki.SAN {
	kind, value, _ := strings.Cut(s, ":")
	switch kind {
	case "uri":
		return pki.SAN{Type: pki.URI, Value: value}
	case "dns":
		return pki.SAN{Type: pki.DNS, Value: value}
	case "email":
		return pki.SAN{Type: pki.Email, Value: value}
	}
	return pki.SAN{Type: pki.IP, Value: value, Addr: netip.MustParseAddr(value)}
}

func TestLookup(t *testing.T) {
	tb := table(t,
		tn("acme", "uri:spiffe://example.org/tenant/acme/*", "dns:*.acme.agents.Example.org", "email:bot@acme.example", "ip:10.1.0.0/16", "ip:2001:db8::7"),
		tn("globex", "uri:spiffe://example.org/tenant/globex/**", "dns:**.globex.example", "email:*@globex.example", "ip:10.2.3.4", "uri:urn:globex"),
		tn("{tenant}", "uri:spiffe://example.org/fleet/{tenant}/agent/*", "dns:a.{tenant}.fleet.example", "email:{tenant}@fleet.example"),
	)
	tests := []struct{ san, want string }{
		{"uri:spiffe://example.org/tenant/acme/a1", "acme"},
		{"uri:spiffe://example.org/tenant/acme", ""},
		{"uri:spiffe://example.org/tenant/acme/a1/b", ""},
		{"uri:spiffe://example.org/tenant/ACME/a1", ""},
		{"uri:spiffe://example.org.evil/tenant/acme/a1", ""},
		{"uri:https://example.org/tenant/acme/a1", ""},
		{"dns:x.acme.agents.example.org", "acme"},
		{"dns:x.y.acme.agents.example.org", ""},
		{"dns:acme.agents.example.org", ""},
		{"dns:x.acme.agents.example.org.evil", ""},
		{"email:bot@acme.example", "acme"},
		{"email:Bot@acme.example", ""},
		{"email:other@acme.example", ""},
		{"email:bot@x.acme.example", ""},
		{"dns:bot.acme.example", ""},
		{"ip:10.1.255.1", "acme"},
		{"ip:10.2.0.1", ""},
		{"ip:2001:db8::7", "acme"},
		{"ip:2001:db8::8", ""},
		{"uri:spiffe://example.org/tenant/globex/a/b/c", "globex"},
		{"uri:spiffe://example.org/tenant/globex", ""},
		{"uri:urn:globex", "globex"},
		{"dns:a.b.globex.example", "globex"},
		{"dns:globex.example", ""},
		{"email:anyone@globex.example", "globex"},
		{"ip:10.2.3.4", "globex"},
		{"uri:spiffe://example.org/fleet/f7/agent/1", "{tenant}=f7"},
		{"dns:a.f8.fleet.example", "{tenant}=f8"},
		{"email:f9@fleet.example", "{tenant}=f9"},
	}
	for _, tt := range tests {
		t.Run(tt.san, func(t *testing.T) {
			got := ""
			if m, ok := tb.Lookup(san(tt.san)); ok {
				got = m.Tenant.ID
				if m.ID != got {
					got += "=" + m.ID
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestIdentify(t *testing.T) {
	off := tn("off", "dns:off.example")
	off.Enabled = false
	tb := table(t, tn("acme", "uri:spiffe://x/acme/*", "dns:acme.example"), tn("globex", "dns:globex.example"), off,
		tn("{tenant}", "uri:spiffe://x/fleet/{tenant}/*"))
	long := strings.Repeat("a", 64)
	tests := []struct {
		name   string
		sans   []string
		want   string
		reason pki.Reason
	}{
		{"one", []string{"uri:spiffe://x/acme/1"}, "acme", ""},
		{"two of one tenant", []string{"uri:spiffe://x/acme/1", "dns:acme.example"}, "acme", ""},
		{"an unmapped one beside", []string{"dns:else.example", "dns:acme.example"}, "acme", ""},
		{"none mapped", []string{"dns:else.example"}, "", Unmapped},
		{"two tenants", []string{"dns:acme.example", "dns:globex.example"}, "", Ambiguous},
		{"disabled", []string{"dns:off.example"}, "", Disabled},
		{"captured", []string{"uri:spiffe://x/fleet/f1/a"}, "f1", ""},
		{"two captured", []string{"uri:spiffe://x/fleet/f1/a", "uri:spiffe://x/fleet/f2/a"}, "", Ambiguous},
		{"captured, also configured", []string{"uri:spiffe://x/fleet/acme/a"}, "", Ambiguous},
		{"captured, configured and disabled", []string{"uri:spiffe://x/fleet/off/a"}, "", Ambiguous},
		{"captured with case", []string{"uri:spiffe://x/fleet/Acme/a"}, "", pki.SANInvalid},
		{"captured with a leading dot", []string{"uri:spiffe://x/fleet/.acme/a"}, "", pki.SANInvalid},
		{"captured too long", []string{"uri:spiffe://x/fleet/" + long + "/a"}, "", pki.SANInvalid},
		{"captured braces", []string{"uri:spiffe://x/fleet/{tenant}/a"}, "", pki.SANInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := &pki.Identity{}
			for _, s := range tt.sans {
				id.SANs = append(id.SANs, san(s))
			}
			m, reason := tb.Identify(id)
			if reason != tt.reason || (reason == "" && m.ID != tt.want) {
				t.Errorf("got %q %q, want %q %q", m.ID, reason, tt.want, tt.reason)
			}
		})
	}
}

func TestRulesRefused(t *testing.T) {
	tests := []struct {
		name    string
		tenants []*Tenant
		want    string
	}{
		{"no type", []*Tenant{tn("a", "spiffe")}, "write a type"},
		{"unknown type", []*Tenant{tn("a", "cn:a")}, "use uri, dns"},
		{"partial star", []*Tenant{tn("a", "dns:agent-*.example")}, "whole segments"},
		{"rest not last", []*Tenant{tn("a", "uri:spiffe://x/**/y")}, "nothing can follow"},
		{"wild trust domain", []*Tenant{tn("a", "uri:spiffe://*/y")}, "trust domain"},
		{"empty segment", []*Tenant{tn("a", "uri:spiffe://x//y")}, "empty segment"},
		{"capture that is not the id", []*Tenant{tn("a", "uri:spiffe://x/{tenant}")}, "tenant's id"},
		{"id not captured", []*Tenant{tn("{tenant}", "uri:spiffe://x/y")}, "must capture"},
		{"id", []*Tenant{tn("Acme", "dns:a.b")}, "lower-case"},
		{"id twice", []*Tenant{tn("a", "dns:a.b"), tn("a", "dns:c.d")}, "twice"},
		{"bits", []*Tenant{tn("a", "ip:10.1.0.1/16")}, "10.1.0.0/16"},
		{"same rule", []*Tenant{tn("a", "dns:x.y"), tn("b", "dns:X.y")}, `"dns:x.y" of tenant a`},
		{"literal under star", []*Tenant{tn("a", "uri:spiffe://x/*/1"), tn("b", "uri:spiffe://x/b/1")}, "same name"},
		{"star over literal", []*Tenant{tn("b", "uri:spiffe://x/b/1"), tn("a", "uri:spiffe://x/*/1")}, "same name"},
		{"crossing stars", []*Tenant{tn("a", "uri:spiffe://x/*/1"), tn("b", "uri:spiffe://x/b/*")}, "same name"},
		{"rest over literal", []*Tenant{tn("b", "uri:spiffe://x/b/1"), tn("a", "uri:spiffe://x/**")}, "same name"},
		{"literal under rest", []*Tenant{tn("a", "uri:spiffe://x/**"), tn("b", "uri:spiffe://x/b/1")}, "same name"},
		{"capture over literal", []*Tenant{tn("b", "uri:spiffe://x/f/b"), tn("{tenant}", "uri:spiffe://x/f/{tenant}")}, "same name"},
		{"literal under capture", []*Tenant{tn("{tenant}", "uri:spiffe://x/f/{tenant}"), tn("b", "uri:spiffe://x/f/b")}, "same name"},
		{"star and capture", []*Tenant{tn("{tenant}", "uri:spiffe://x/f/{tenant}"), tn("b", "uri:spiffe://x/f/*")}, "same name"},
		{"networks", []*Tenant{tn("a", "ip:10.0.0.0/8"), tn("b", "ip:10.1.2.3")}, "same name"},
		{"networks, other order", []*Tenant{tn("b", "ip:10.1.2.3"), tn("a", "ip:10.0.0.0/8")}, "same name"},
		{"bad glob", []*Tenant{{ID: "a", Enabled: true, SecondFactor: Required, Tools: &Tools{Allow: []string{"[a"}}}}, "tool pattern"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewTable(tt.tenants)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// Whatever rules a table accepts, no name maps to two tenants: a brute-force
// matcher over every rule must agree with the trie.
func TestOverlapAgainstBruteForce(t *testing.T) {
	words := []string{"a", "b", "*", "**"}
	var patterns []string
	for _, x := range words {
		patterns = append(patterns, "uri:spiffe://d/"+x)
		for _, y := range words {
			if x != "**" {
				patterns = append(patterns, "uri:spiffe://d/"+x+"/"+y)
			}
		}
	}
	names := []string{"spiffe://d/a", "spiffe://d/b", "spiffe://d/c"}
	for _, x := range []string{"a", "b", "c"} {
		for _, y := range []string{"a", "b", "c"} {
			names = append(names, "spiffe://d/"+x+"/"+y, "spiffe://d/"+x+"/"+y+"/z")
		}
	}
	for _, p := range patterns {
		for _, q := range patterns {
			both := false
			for _, n := range names {
				both = both || (brute(p, n) && brute(q, n))
			}
			tb, err := NewTable([]*Tenant{tn("p", p), tn("q", q)})
			if (err != nil) != both {
				t.Fatalf("%s and %s: overlap %v, table says %v", p, q, both, err)
			}
			for _, n := range names {
				if err != nil {
					break
				}
				want := ""
				if brute(p, n) {
					want = "p"
				} else if brute(q, n) {
					want = "q"
				}
				got := ""
				if m, ok := tb.Lookup(pki.SAN{Type: pki.URI, Value: n}); ok {
					got = m.ID
				}
				if got != want {
					t.Fatalf("%s in {%s, %s}: got %q, want %q", n, p, q, got, want)
				}
			}
		}
	}
}

func brute(rule, name string) bool {
	p := strings.Split(strings.TrimPrefix(rule, "uri:"), "/")
	n := strings.Split(name, "/")
	for i, s := range p {
		if s == "**" {
			return len(n) > i
		}
		if i >= len(n) || (s != "*" && s != n[i]) {
			return false
		}
	}
	return len(p) == len(n)
}

// TestIdentifyIgnoresOrder checks that of several names that map, the same one identifies
// the holder in whatever order the certificate has them.
func TestIdentifyIgnoresOrder(t *testing.T) {
	tb := table(t, tn("acme", "uri:spiffe://x/acme/*", "uri:https://acme.example/*", "dns:*.acme.example", "email:*@acme.example", "ip:10.0.0.0/8"))
	tests := []struct {
		want string
		sans []string
	}{
		{"uri:spiffe://x/acme/1", []string{"uri:https://acme.example/a", "dns:a.acme.example", "uri:spiffe://x/acme/1"}},
		{"uri:https://acme.example/a", []string{"dns:a.acme.example", "uri:https://acme.example/b", "uri:https://acme.example/a"}},
		{"dns:a.acme.example", []string{"dns:b.acme.example", "dns:a.acme.example", "email:a@acme.example", "uri:spiffe://x/image"}},
		{"email:a@acme.example", []string{"email:b@acme.example", "email:a@acme.example", "ip:10.0.0.1"}},
		{"ip:10.0.0.1", []string{"ip:10.0.0.2", "dns:localhost", "ip:10.0.0.1"}},
	}
	for _, tt := range tests {
		for range tt.sans {
			tt.sans = append(tt.sans[1:], tt.sans[0])
			id := &pki.Identity{}
			for _, s := range tt.sans {
				id.SANs = append(id.SANs, san(s))
				if strings.HasPrefix(s, "uri:spiffe:") {
					id.SPIFFEID = strings.TrimPrefix(s, "uri:")
				}
			}
			m, reason := tb.Identify(id)
			if reason != "" {
				t.Fatalf("%q: %s", tt.sans, reason)
			}
			if got := id.Key(m.SAN); got != tt.want {
				t.Errorf("%q: got %s, want %s", tt.sans, got, tt.want)
			}
			if found, _ := tb.Lookup(id.SANs[m.SAN]); found.Rule != m.Rule {
				t.Errorf("%q: rule %s, want that of the name, %s", tt.sans, m.Rule, found.Rule)
			}
		}
	}
}

func TestIdentifyDoesNotAllocate(t *testing.T) {
	tb := table(t, tn("acme", "uri:spiffe://x/acme/*"), tn("{tenant}", "uri:spiffe://x/fleet/{tenant}/*"))
	id := &pki.Identity{SANs: []pki.SAN{san("uri:spiffe://x/fleet/f1/a"), san("dns:a.b.c")}}
	if n := testing.AllocsPerRun(100, func() { tb.Identify(id) }); n != 0 && !pkitest.Race {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var tenants []*Tenant
			for i := range n {
				tenants = append(tenants, tn(fmt.Sprintf("t%d", i), fmt.Sprintf("uri:spiffe://example.org/tenant/t%d/*", i)))
			}
			tb := table(b, tenants...)
			name := san(fmt.Sprintf("uri:spiffe://example.org/tenant/t%d/agent", n/2))
			b.ResetTimer()
			for b.Loop() {
				if _, ok := tb.Lookup(name); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}
