package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/servertest"
)

// Admins see the tenants of the configuration in force, page by page, and nothing
// secret of them; nobody else does.
func TestTenantsAPI(t *testing.T) {
	t.Parallel()
	g, api := administered(t, servertest.Options{Config: func(yaml string) string {
		yaml = strings.Replace(yaml, "    keys:", "    tools: {allow: [echo], deny: [whoami], condition: 'true'}\n    limits: {requestsPerSecond: 5, perIdentity: {concurrent: 2}}\n    vars: {subdomain: not-shown}\n    keys:", 1)
		var more strings.Builder
		for i := range 1200 {
			fmt.Fprintf(&more, "  - {id: t%d, sans: [\"uri:spiffe://example.org/more/%[1]d\"], enabled: false, secondFactor: none}\n", i)
		}
		return yaml + more.String()
	}})
	list := func(query string) (ids []string, body string) {
		t.Helper()
		status, body := api("GET", "/api/tenants"+query, "")
		var all []struct{ ID string }
		if err := json.Unmarshal([]byte(body), &all); err != nil || status != 200 {
			t.Fatalf("%d %v: %s", status, err, body)
		}
		for _, one := range all {
			ids = append(ids, one.ID)
		}
		return ids, body
	}
	first, body := list("")
	if len(first) != 1000 || first[0] != "acme" || first[1] != "globex" || first[999] != "t997" {
		t.Errorf("%d: %q", len(first), first)
	}
	if strings.Contains(body, "not-shown") || strings.Contains(body, "sha256") || strings.Contains(body, "sgk_") {
		t.Error("the list shows too much")
	}
	if rest, _ := list("?after=t997"); len(rest) != 202 || rest[0] != "t998" || rest[201] != "t1199" {
		t.Errorf("%d: %q", len(rest), rest)
	}
	for path, want := range map[string]string{
		"/api/tenants/acme":         `200 {"id":"acme","enabled":true,"sans":["uri:spiffe://example.org/tenant/acme/*"],"secondFactor":"required","tools":{"allow":["echo"],"deny":["whoami"],"condition":"true"},"limits":{"requestsPerSecond":5,"perIdentity":{"concurrent":2}}}`,
		"/api/tenants/t7":           `200 {"id":"t7","enabled":false,"sans":["uri:spiffe://example.org/more/7"],"secondFactor":"none"}`,
		"/api/tenants/nobody":       `404 {"error":"not_found"`,
		"/api/tenants?after=nobody": `400 {"error":"bad_request"`,
	} {
		status, body := api("GET", path, "")
		if got := fmt.Sprintf("%d %s", status, body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if status, _ := api("DELETE", "/api/tenants/acme", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d; tenants are changed in the configuration", status)
	}
	if status, _ := get(t, g.Client(g.Cert("acme")), g.URL+"/api/tenants", g.Key("acme")); status != http.StatusForbidden {
		t.Errorf("to a tenant: %d", status)
	}
}
