package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/jwt"
)

const good = `{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`

// Each mistake with issuers is told where it stands.
func TestIssuers(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"jwks.json": good, "bad.json": `{"keys":[]}`, "ca.crt": "no PEM"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const plain = `name: entra, issuer: "https://login.example/v2.0", audiences: [gate], tenants: [{tenant: acme, claims: {tid: x, azp: y}}]`
	const many = `name: entra, issuer: "https://login.example/{tenantid}/v2.0", audiences: [gate]`
	replaced := func(old, new string) string { return strings.Replace(plain, old, new, 1) }
	for name, tt := range map[string]struct{ text, want string }{
		"good":                {plain, ""},
		"with a file":         {plain + ", jwksFile: jwks.json, clockSkew: 0s, binding: required, mtlsPoP: true, refresh: 10m", ""},
		"with a claim":        {replaced(`tenants: [{tenant: acme, claims: {tid: x, azp: y}}]`, "tenantClaim: org"), ""},
		"several tenants":     {many + `, tenants: [{tenant: acme, claims: {tid: "aaaaaaaa-1111-2222-3333-444444444444"}}]`, ""},
		"captured tenant":     {replaced("tenant: acme", "tenant: f-1"), ""},
		"no name":             {replaced("name: entra, ", ""), "name: "},
		"bad name":            {replaced("name: entra", "name: Entra ID"), `name: "Entra ID"`},
		"issuer in clear":     {replaced("https:", "http:"), "issuer: "},
		"issuer with a query": {replaced("/v2.0", "/v2.0?x=1"), "issuer: "},
		"no audience":         {replaced("audiences: [gate], ", ""), "audiences: "},
		"two key sources":     {plain + `, jwksFile: jwks.json, jwksURL: "https://x.example/keys"`, "stands beside jwksURL"},
		"keys in clear":       {plain + `, jwksURL: "http://x.example/keys"`, "write https"},
		"no file":             {plain + ", jwksFile: nowhere.json", "no such file"},
		"empty set":           {plain + ", jwksFile: bad.json", "no key"},
		"CA of no PEM":        {plain + ", caFile: ca.crt", "no certificate"},
		"bad binding":         {plain + ", binding: maybe", "binding: "},
		"too much skew":       {plain + ", clockSkew: 6m", "clockSkew: "},
		"two scopes in one":   {plain + `, scopes: ["a b"]`, "scopes: "},
		"a quote in a role":   {plain + `, roles: ["a\"b"]`, "roles: "},
		"nobody's":            {replaced(`, tenants: [{tenant: acme, claims: {tid: x, azp: y}}]`, ""), "say whose"},
		"unknown tenant":      {replaced("tenant: acme", "tenant: Nobody"), `no tenant "Nobody"`},
		"admins":              {replaced("tenant: acme", `tenant: "@admins"`), `no tenant "@admins"`},
		"no claims":           {replaced("claims: {tid: x, azp: y}", "claims: {}"), "has no claims"},
		"an empty claim":      {replaced("azp: y", `azp: ""`), "neither can be empty"},
		"claims of a list":    {replaced("{tid: x, azp: y}", "[tid]"), "expected keys and values"},
		"a claim of a list":   {replaced("tid: x", "tid: [x]"), "expected a single value"},
		"any organization":    {many + ", tenantClaim: org", "any organization"},
		"tid of no GUID":      {many + `, tenants: [{tenant: acme, claims: {tid: x}}]`, "GUID"},
		"twice":               {plain + "}\n  - {" + plain, "stands here twice"},
	} {
		d := newDecoder("file", dir)
		c := defaults()
		d.document([]byte(fmt.Sprintf("tenants:\n  - {id: acme, sans: [\"dns:acme.example\"]}\n  - {id: \"{f}\", sans: [\"dns:{f}.fleet.example\"]}\nissuers:\n  - {%s}\n", tt.text)), c)
		d.checkTenants(c)
		d.checkIssuers(c)
		switch {
		case tt.want == "" && len(d.problems) > 0:
			t.Errorf("%s: %v", name, d.problems)
		case tt.want != "" && (len(d.problems) == 0 || !strings.Contains(d.problems[0].Message, tt.want) || d.problems[0].Line < 4):
			t.Errorf("%s: %v, want %q on the issuer's line", name, d.problems, tt.want)
		}
		if tt.want == "" {
			if i := c.Issuers[0].JWT(nil); i.Binding == "" || c.Issuers[0].ClockSkew == nil || (i.Skew != time.Minute && i.Binding != jwt.BindingRequired) {
				t.Errorf("%s: defaults are missing: %+v", name, i)
			}
		}
	}
}

func TestEgress(t *testing.T) {
	d := newDecoder("file", "/")
	c := defaults()
	d.document([]byte("egress: {allow: [10.0.0.0/8, 192.168.1.7, \"fd00::/8\", 10.0.0.1/8, everything]}"), c)
	d.checkEgress(&c.Egress)
	if len(d.problems) != 2 || len(c.Egress.prefixes()) != 4 {
		t.Errorf("%v, %v", d.problems, c.Egress.Allow)
	}
}
