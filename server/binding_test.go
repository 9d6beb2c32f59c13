package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// A bound token is good with its certificate only (RFC 8705): another of the same
// tenant, even of the same name, does not do.
func TestBoundTokens(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]struct{ unbound, elsewhere, dpop string }{
		"none":      {"ok", "ok", "binding_mismatch"},
		"ifPresent": {"ok", "binding_mismatch", "binding_mismatch"},
		"required":  {"binding_missing", "binding_mismatch", "binding_mismatch"},
	} {
		t.Run(mode, func(t *testing.T) {
			g, i := withIssuer(t, nil, "tenantClaim: tenant", "mtlsPoP: true", "binding: "+mode)
			cert, other := g.Cert("acme"), g.Cert("acme")
			bound := i.Token(i.Claims("acme").With(claims{"cnf": confirms(cert)}))
			unbound := i.Token(i.Claims("acme"))
			dpop := i.Token(i.Claims("acme").With(claims{"cnf": claims{"jkt": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}}))
			both := i.Token(i.Claims("acme").With(claims{"cnf": confirms(cert).With(claims{"jkt": "x"})}))
			for name, tc := range map[string]struct {
				cert                  *pkitest.Cert
				scheme, token, reason string
			}{
				"bound":                         {cert, "Bearer", bound, "ok"},
				"bound, MTLS_POP":               {cert, "mtls_pop", bound, "ok"},
				"bound, another certificate":    {other, "Bearer", bound, want.elsewhere},
				"bound, another, MTLS_POP":      {other, "MTLS_POP", bound, "binding_mismatch"},
				"not bound":                     {cert, "Bearer", unbound, want.unbound},
				"not bound, MTLS_POP":           {cert, "MTLS_POP", unbound, "binding_missing"},
				"DPoP":                          {cert, "Bearer", dpop, want.dpop},
				"DPoP beside the certificate's": {cert, "Bearer", both, "binding_mismatch"},
				"a key, MTLS_POP":               {cert, "MTLS_POP", g.Key("acme"), "token_malformed"},
			} {
				before := g.By(decisions, "reason")
				res := ask(t, g.Client(tc.cert), http.MethodGet, g.URL+"/tools", "", "Authorization: "+tc.scheme+" "+tc.token)
				status := map[string]int{"ok": 200, "token_malformed": 400}[tc.reason]
				if status == 0 {
					status = 401
				}
				if res.StatusCode != status {
					t.Errorf("%s: %s, want %d", name, res.Status, status)
				}
				wantChange(t, g, decisions, "reason", before, map[string]float64{tc.reason: 1})
			}
		})
	}
	t.Run("MTLS_POP where no issuer takes it", func(t *testing.T) {
		g, i := withIssuer(t, nil)
		cert := g.Cert("acme")
		before := g.By(decisions, "reason")
		token := i.Token(i.Claims("acme").With(claims{"cnf": confirms(cert)}))
		wantError(t, ask(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", "Authorization: MTLS_POP "+token), 401, "unauthorized")
		wantChange(t, g, decisions, "reason", before, map[string]float64{"token_missing": 1})
	})
}

// The certificate of RFC 8705, appendix A, has the thumbprint that stands there,
// as the gate makes it.
func TestRFC8705AppendixA(t *testing.T) {
	t.Parallel()
	const thumbprint = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"
	const cert = `-----BEGIN CERTIFICATE-----
MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx
ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ
/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID
SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV
bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=
-----END CERTIFICATE-----
`
	g := servertest.Start(t, servertest.Options{})
	args, err := json.Marshal(map[string]string{"pem": cert})
	if err != nil {
		t.Fatal(err)
	}
	res := ask(t, g.Client(g.Cert("acme")), http.MethodPost, g.URL+"/tool/certificate_inspect/call", string(args), asJSON, "Authorization: Bearer "+g.Key("acme"))
	body, _ := io.ReadAll(res.Body)
	sum, err := base64.RawURLEncoding.DecodeString(thumbprint)
	if err != nil || !strings.Contains(string(body), hex.EncodeToString(sum)) {
		t.Errorf("%s %s, want the fingerprint %x", res.Status, body, sum)
	}
}

// MTLS_POP is for the issuers that are configured for it, not for others beside
// them.
func TestPoPIsForItsIssuer(t *testing.T) {
	t.Parallel()
	with, without := servertest.NewIssuer(t), servertest.NewIssuer(t)
	file := writeTemp(t, "jwks.json", without.JWKS())
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return yaml + with.Config("tenantClaim: tenant", "mtlsPoP: true") +
			fmt.Sprintf("  - {name: plain, issuer: %q, audiences: [gate], jwksFile: %q, tenantClaim: tenant}\n", without.URL, file)
	}})
	cert := g.Cert("acme")
	for issuer, reason := range map[*servertest.Issuer]string{with: "ok", without: "token_missing"} {
		before := g.By(decisions, "reason")
		token := issuer.Token(issuer.Claims("acme").With(claims{"cnf": confirms(cert)}))
		ask(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", "Authorization: MTLS_POP "+token)
		wantChange(t, g, decisions, "reason", before, map[string]float64{reason: 1})
		if res := ask(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", jwtOf(token)); res.StatusCode != 200 {
			t.Errorf("by Bearer: %s", res.Status)
		}
	}
}

// confirms is the confirmation of a certificate (RFC 8705, 3.1).
func confirms(c *pkitest.Cert) claims {
	sum := sha256.Sum256(c.Leaf.Raw)
	return claims{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
}

// Who administers has keys: a token of an issuer is none, whatever it says.
func TestTokensAreNoAdmins(t *testing.T) {
	t.Parallel()
	g, i := withIssuer(t, nil)
	g.Configure(func(yaml string) string { return yaml + "admins: {sans: [\"email:ops@example.org\"]}\n" })
	ops := g.Client(g.CA.Issue(t, pkitest.Leaf{Emails: []string{"ops@example.org"}}))
	before := g.By(decisions, "reason")
	for _, tenant := range []string{"@admins", "acme"} {
		wantError(t, ask(t, ops, http.MethodGet, g.URL+"/api/keys", "", jwtOf(i.Token(i.Claims(tenant)))), 401, "unauthorized")
	}
	wantChange(t, g, decisions, "reason", before, map[string]float64{"token_unknown": 2})
}
