package sanrule_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/sanrule"
)

// matches is what a rule means, written down without regard to speed. It takes
// rules that Parse has accepted.
func matches(rule string, san pki.SAN) bool {
	kind, pattern, _ := strings.Cut(rule, ":")
	if kind != san.Type.String() {
		return false
	}
	switch san.Type {
	case pki.IP:
		if !strings.Contains(pattern, "/") {
			return netip.MustParseAddr(pattern).Unmap() == san.Addr
		}
		return netip.MustParsePrefix(pattern).Contains(san.Addr)
	case pki.URI:
		return segmentsMatch(strings.Split(pattern, "/"), strings.Split(san.Value, "/"), false)
	case pki.DNS:
		return segmentsMatch(backwards(pattern), backwards(san.Value), true)
	}
	ruleLocal, ruleDomain, _ := strings.Cut(pattern, "@")
	local, domain, _ := strings.Cut(san.Value, "@")
	return segmentsMatch([]string{ruleLocal}, []string{local}, false) && segmentsMatch(backwards(ruleDomain), backwards(domain), true)
}

func backwards(name string) []string {
	var out []string
	for label := range strings.SplitSeq(name, ".") {
		out = append([]string{label}, out...)
	}
	return out
}

func segmentsMatch(pattern, name []string, fold bool) bool {
	for i, p := range pattern {
		if p == "**" {
			return len(name) > i
		}
		switch {
		case i >= len(name):
			return false
		case p == "*", strings.HasPrefix(p, "{"):
		case fold && strings.ToLower(p) != name[i], !fold && p != name[i]:
			return false
		}
	}
	return len(pattern) == len(name)
}

// FuzzRules checks two rules of two values against one name: a lookup finds what
// the rules say and nothing else, and rules that both match cannot both be added.
//
// Holds: client/one-tenant-per-name
func FuzzRules(f *testing.F) {
	for _, s := range [][3]string{
		{"uri:spiffe://example.org/tenant/acme/*", "uri:spiffe://example.org/tenant/{tenant}/agent", "spiffe://example.org/tenant/acme/agent"},
		{"uri:spiffe://example.org/**", "uri:spiffe://example.org/a/b/c", "spiffe://example.org/a/b"},
		{"dns:*.acme.example", "dns:**.example", "bot.acme.example"},
		{"dns:{tenant}.agents.Example.org", "dns:x.agents.example.org", "X.agents.example.org"},
		{"email:*@acme.example", "email:bot@*.example", "bot@acme.example"},
		{"ip:10.0.0.0/8", "ip:10.1.0.0/16", "10.1.2.3"},
		{"ip:::ffff:10.0.0.0/104", "ip:10.0.0.1", "::ffff:10.0.0.1"},
		{"ip:::/0", "ip:0.0.0.0/0", "fe80::1%eth0"},
		{"uri:urn:uuid:*", "uri:urn:**", "urn:uuid:1"},
		{"dns:" + strings.Repeat("*.", 23) + "a", "dns:**", strings.Repeat("a.", 23) + "a"},
		{"uri:a:/", "uri:a://", "a:///"},
		{"dns:{a}.{b}", "dns:{a.b}", "{a}.b"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, first, second, name string) {
		a, err := sanrule.Parse(first)
		if err != nil {
			return
		}
		b, err := sanrule.Parse(second)
		if err != nil {
			return
		}
		if a.String() != first {
			t.Fatalf("%q reads back as %q", first, a)
		}
		for _, san := range sans(name) {
			var set sanrule.Set[string]
			if err := set.Add(a, "a"); err != nil {
				t.Fatalf("the first rule %q: %v", first, err)
			}
			inA, inB := matches(first, san), matches(second, san)
			if m, ok := set.Lookup(san); ok != inA || ok && (m.Value != "a" || m.Rule != first) {
				t.Fatalf("%q finds %v: %v %v, want %v", first, san, ok, m, inA)
			}
			if err := set.Add(b, "b"); err != nil {
				continue
			}
			if inA && inB {
				t.Fatalf("%q and %q both match %v and are in one set", first, second, san)
			}
			m, ok := set.Lookup(san)
			if want := map[bool]string{inA: "a", inB: "b"}[true]; m.Value != want || ok != (want != "") {
				t.Fatalf("%q and %q find %v: %q, want %q", first, second, san, m.Value, want)
			}
		}
	})
}

// sans returns the names that a certificate can have with that text: ParseIdentity
// returns DNS names and mail domains in lower case.
func sans(text string) []pki.SAN {
	if text == "" || len(text) > 2048 || strings.ContainsAny(text, "*{}%") {
		return nil // refused in certificates
	}
	out := []pki.SAN{{Type: pki.URI, Value: text}, {Type: pki.DNS, Value: strings.ToLower(text)}}
	if local, domain, ok := strings.Cut(text, "@"); ok && local != "" {
		out = append(out, pki.SAN{Type: pki.Email, Value: local + "@" + strings.ToLower(domain)})
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		out = append(out, pki.SAN{Type: pki.IP, Value: addr.String(), Addr: addr})
	}
	return out
}
