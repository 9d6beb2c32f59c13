package server_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// byDNS maps DNS names to tenants, and admins to a table of their own. Names outside
// the rules, such as localhost, are shared by certificates of all.
func byDNS(yaml string) string {
	yaml = strings.ReplaceAll(yaml, `sans: ["uri:spiffe://example.org/tenant/acme/*"]`, `sans: ["dns:*.acme.example"]`)
	yaml = strings.ReplaceAll(yaml, `sans: ["uri:spiffe://example.org/tenant/globex/*"]`, `sans: ["dns:*.globex.example"]`)
	return yaml + "  - {id: \"{f}\", sans: [\"dns:agent.{f}.fleet.example\"], secondFactor: optional}\n" +
		"admins: {sans: [\"dns:*.admin.example\"], secondFactor: optional}\n"
}

// named issues a certificate with DNS names in that order.
func named(t *testing.T, g *servertest.Gate, names ...string) *http.Client {
	t.Helper()
	return g.Client(g.CA.Issue(t, pkitest.Leaf{DNS: names}))
}

// TestSharedNameLocksOutNobodyElse checks that wrong tokens count against the tenant and
// the SAN that its rule matched: other certificates with a name in common are not locked
// out, of whatever tenant, and the same holder with another certificate is.
//
// Holds: tenant/lockout-own-identity
func TestSharedNameLocksOutNobodyElse(t *testing.T) {
	t.Parallel()
	frozen := time.Now()
	g := servertest.Start(t, servertest.Options{Lockout: true, Config: byDNS, Now: func() time.Time { return frozen }})
	shared := "spiffe://example.org/image/agent"
	with := func(uri, name string) *http.Client {
		return g.Client(g.CA.Issue(t, pkitest.Leaf{URIs: []string{uri}, DNS: []string{name}}))
	}
	guess := func(c *http.Client, path string) {
		t.Helper()
		for n := range 12 {
			res := ask(t, c, http.MethodGet, g.URL+path, "", "Authorization: Bearer wrong")
			if want := map[bool]int{true: 401, false: 429}[n < 10]; res.StatusCode != want {
				t.Fatalf("wrong token %d on %s: %s, want %d", n, path, res.Status, want)
			}
		}
	}
	guess(named(t, g, "localhost", "a.globex.example"), "/tools")
	guess(with(shared, "b.globex.example"), "/tools")
	guess(named(t, g, "localhost", "agent.f1.fleet.example"), "/tools")
	guess(named(t, g, "localhost", "x.admin.example"), "/api/tenants")
	// A certificate of no tenant does not get as far as its token.
	for range 12 {
		wantError(t, ask(t, named(t, g, "localhost", "nobody.example"), http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer wrong"), 403, "forbidden")
	}
	bearer := func(tenant string) string { return "Authorization: Bearer " + g.Key(tenant) }
	for name, c := range map[string]struct {
		client *http.Client
		header string
		want   int
	}{
		"another tenant, the DNS name shared":        {named(t, g, "localhost", "a.acme.example"), bearer("acme"), 200},
		"another tenant, the SPIFFE ID shared":       {with(shared, "b.acme.example"), bearer("acme"), 200},
		"another captured tenant":                    {named(t, g, "localhost", "agent.f2.fleet.example"), "X-Octopus-Tenant-Id: f2", 200},
		"another identity of the tenant":             {named(t, g, "localhost", "c.globex.example"), bearer("globex"), 200},
		"another identity, the SPIFFE ID shared":     {with(shared, "d.globex.example"), bearer("globex"), 200},
		"the same identity, other names in front":    {named(t, g, "other.example", "a.globex.example"), bearer("globex"), 429},
		"the same identity, without the shared name": {named(t, g, "b.globex.example"), bearer("globex"), 429},
	} {
		t.Run(name, func(t *testing.T) {
			if res := ask(t, c.client, http.MethodGet, g.URL+"/tools", "", c.header); res.StatusCode != c.want {
				t.Errorf("got %s, want %d", res.Status, c.want)
			}
		})
	}
	if res := ask(t, named(t, g, "localhost", "y.admin.example"), http.MethodGet, g.URL+"/api/tenants", ""); res.StatusCode != 200 {
		t.Errorf("another admin: %s", res.Status)
	}
	if res := ask(t, named(t, g, "x.admin.example"), http.MethodGet, g.URL+"/api/tenants", ""); res.StatusCode != 429 {
		t.Errorf("the admin that guessed: %s, want 429", res.Status)
	}
}

// TestSharedNameSharesNoSession checks that a session belongs to the SAN that maps its
// certificate: identities of a tenant with a name in common cannot use each other's, and
// a renewed certificate with its names in another order keeps its own.
//
// Holds: tenant/session-own-identity
func TestSharedNameSharesNoSession(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: byDNS})
	mcp, key := g.URL+"/mcp", "Authorization: Bearer "+g.Key("acme")
	id := begin(t, named(t, g, "localhost", "a.acme.example", "z.acme.example"), mcp, "2025-06-18", key)
	for name, names := range map[string][]string{
		"renewed":                {"localhost", "a.acme.example", "z.acme.example"},
		"in another order":       {"z.acme.example", "localhost", "a.acme.example"},
		"with an unmapped name":  {"aaa.example", "z.acme.example", "a.acme.example"},
		"without the shared one": {"a.acme.example", "z.acme.example"},
	} {
		if res := inSession(t, named(t, g, names...), http.MethodPost, mcp, id, key); res.StatusCode != 200 {
			t.Errorf("%s: %s, want 200", name, res.Status)
		}
	}
	for name, names := range map[string][]string{
		"another identity":                       {"localhost", "b.acme.example"},
		"another identity with one name of both": {"localhost", "z.acme.example"},
	} {
		res := inSession(t, named(t, g, names...), http.MethodPost, mcp, id, key)
		if res.StatusCode != 403 {
			t.Errorf("%s: %s, want 403", name, res.Status)
		}
	}
	wantError(t, inSession(t, named(t, g, "localhost", "a.globex.example"), http.MethodPost, mcp, id, "Authorization: Bearer "+g.Key("globex")), 403, "forbidden")
}

// TestSharedNameSharesNoLimit checks that per-identity limits count for the SAN that maps
// the certificate.
//
// Holds: tenant/limits-own-identity
func TestSharedNameSharesNoLimit(t *testing.T) {
	t.Parallel()
	frozen := time.Now()
	g := servertest.Start(t, servertest.Options{Now: func() time.Time { return frozen }, Config: func(yaml string) string {
		return strings.Replace(byDNS(yaml), "  - id: acme\n", "  - id: acme\n    limits: {perIdentity: {requestsPerSecond: 1, burst: 2}}\n", 1)
	}})
	tools := func(names ...string) int {
		return ask(t, named(t, g, names...), http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("acme")).StatusCode
	}
	got := []int{tools("localhost", "a.acme.example"), tools("x.example", "a.acme.example"), tools("a.acme.example", "localhost"), tools("localhost", "b.acme.example")}
	if want := []int{200, 200, 429, 200}; !slices.Equal(got, want) {
		t.Errorf("three requests of a and one of b: %v, want %v", got, want)
	}
}

// TestSharedNameSharesNoConnections checks that the share of connections of an identity is
// that of the SAN that maps its certificate.
//
// Holds: tenant/connections-own-identity
func TestSharedNameSharesNoConnections(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return byDNS(yaml) + "limits: {maxConnections: 40, tenantShare: 1, identityShare: 0.05}\n" // 2 for an identity
	}})
	dial := func(names ...string) *tls.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", g.Addr, g.TLS(g.CA.Issue(t, pkitest.Leaf{DNS: names})))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	open := func() float64 { return g.Metric("sangate_connections_open") }
	wait := func(want float64) {
		t.Helper()
		if !servertest.WaitFor(func() bool { return open() == want }, 5*time.Second) {
			t.Fatalf("%v connections are open, want %v", open(), want)
		}
	}
	for n, name := range []string{"a", "b", "c", "d"} {
		dial("localhost", name+".acme.example")
		wait(float64(n + 1))
	}
	dial("x.example", "a.acme.example")
	wait(5)
	dial("localhost", "a.acme.example") // its third: the oldest of its own goes
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_connections_dropped_total", "reason", "identity_share") == 1 }, 5*time.Second) {
		t.Error("no connection of the identity was dropped")
	}
	wait(5)
}

// TestMappedNameShown checks that whoami, the audit log and the log name the SAN that the
// tenant's rule matched, not one that the certificate shares with others.
func TestMappedNameShown(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	g := servertest.Start(t, servertest.Options{Log: &log, Config: func(yaml string) string {
		return byDNS(yaml) + "audit: {file: audit.jsonl, toolCalls: true}\n"
	}})
	client, key := named(t, g, "localhost", "z.acme.example", "a.acme.example"), "Authorization: Bearer "+g.Key("acme")
	res := ask(t, client, http.MethodPost, g.URL+"/tool/whoami/call", "{}", asJSON, key)
	var told struct{ Identity string }
	if err := json.NewDecoder(res.Body).Decode(&told); err != nil || told.Identity != "a.acme.example" {
		t.Errorf("whoami: %q, %v; want a.acme.example", told.Identity, err)
	}
	ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer wrong")
	<-g.Stop()
	audit, err := os.ReadFile(filepath.Join(g.Dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"audit": string(audit), "log": log.String()} {
		if n := strings.Count(text, `"identity":"a.acme.example"`); n != 2 || strings.Contains(text, `"identity":"localhost"`) {
			t.Errorf("%s names the identity %d times, want 2:\n%s", name, n, text)
		}
	}
}
