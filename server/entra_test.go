package server_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// Microsoft Entra ID: the audience of v2 is the client id, the issuer of v1 is
// another, and whose a token is, tid and azp say together.
func TestEntra(t *testing.T) {
	t.Parallel()
	const tid, other, api = "aaaaaaaa-1111-2222-3333-444444444444", "bbbbbbbb-1111-2222-3333-444444444444", "cccccccc-1111-2222-3333-444444444444"
	i := servertest.NewIssuer(t)
	file := func(yaml string) string {
		return yaml + "issuers:\n" + entra("v2", "https://login.microsoftonline.com/"+tid+"/v2.0", tid, "azp") +
			entra("v1", "https://sts.windows.net/"+tid+"/", tid, "appid") +
			entra("many", "https://login.microsoftonline.com/{tenantid}/v2.0", other, "azp")
	}
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return strings.ReplaceAll(file(yaml), "jwks.json", writeTemp(t, "jwks.json", i.JWKS()))
	}})
	v2 := claims{"iss": "https://login.microsoftonline.com/" + tid + "/v2.0", "ver": "2.0", "aud": api, "tid": tid, "azp": "agent", "idtyp": "app",
		"roles": []string{"MCP.Call.All"}, "exp": time.Now().Add(time.Hour).Unix()}
	v1 := v2.With(claims{"iss": "https://sts.windows.net/" + tid + "/", "ver": "1.0", "aud": "api://gate", "azp": nil, "appid": "agent"})
	many := v2.With(claims{"iss": "https://login.microsoftonline.com/" + other + "/v2.0", "tid": other})
	const third = "dddddddd-1111-2222-3333-444444444444"
	for name, tc := range map[string]struct {
		claims claims
		reason string
	}{
		"v2":                           {v2, ""},
		"v1":                           {v1, ""},
		"of several tenants":           {many, ""},
		"a user's":                     {v2.With(claims{"idtyp": nil, "roles": nil, "scp": "MCP.Call profile"}), ""},
		"a user's with the role only":  {v2.With(claims{"idtyp": nil}), "token_scope"},
		"v2 with v1's audience":        {v2.With(claims{"aud": "api://gate"}), "token_audience"},
		"v1 with v2's audience":        {v1.With(claims{"aud": api}), "token_audience"},
		"v1's issuer without a slash":  {v1.With(claims{"iss": "https://sts.windows.net/" + tid}), "token_issuer"},
		"another client":               {v2.With(claims{"azp": "other"}), "tenant_mismatch"},
		"azp in v1":                    {v1.With(claims{"azp": "agent", "appid": nil}), "tenant_mismatch"},
		"another tid":                  {many.With(claims{"tid": tid}), "token_issuer"},
		"an organization not named":    {v2.With(claims{"iss": "https://login.microsoftonline.com/" + third + "/v2.0", "tid": third}), "tenant_mismatch"},
		"the template for an org":      {many.With(claims{"iss": "https://login.microsoftonline.com/{tenantid}/v2.0"}), "token_issuer"},
		"of an app with a user's role": {v2.With(claims{"roles": []string{"MCP.Call"}}), "token_scope"},
	} {
		before := g.By(decisions, "reason")
		res := ask(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+"/tools", "", jwtOf(i.Token(tc.claims)))
		if (res.StatusCode == 200) != (tc.reason == "") {
			t.Errorf("%s: %s", name, res.Status)
		}
		want := map[string]float64{tc.reason: 1}
		if tc.reason == "" {
			want = map[string]float64{"ok": 1}
		}
		wantChange(t, g, decisions, "reason", before, maps.Clone(want))
	}
	meta := ask(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+"/.well-known/oauth-protected-resource/mcp", "")
	body, _ := io.ReadAll(meta.Body)
	for _, want := range []string{`/mcp"`, `"https://login.microsoftonline.com/` + other + `/v2.0"`, `"https://sts.windows.net/` + tid + `/"`, `"scopes_supported":["MCP.Call"]`} {
		if !strings.Contains(string(body), want) || strings.Contains(string(body), "{") && strings.Contains(string(body), "tenantid") {
			t.Errorf("metadata %s lacks %s", body, want)
		}
	}
}

func entra(name, issuer, tid, client string) string {
	audience := "cccccccc-1111-2222-3333-444444444444"
	if client == "appid" {
		audience = "api://gate"
	}
	return fmt.Sprintf("  - {name: %s, issuer: %q, audiences: [%q], jwksFile: jwks.json, scopes: [MCP.Call], roles: [MCP.Call.All], tenants: [{tenant: acme, claims: {tid: %s, %s: agent}}]}\n",
		name, issuer, audience, tid, client)
}
