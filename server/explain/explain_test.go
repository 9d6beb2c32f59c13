package explain_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/explain"
	"github.com/sangate/sangate/server/servertest"
)

// What explain says is what a running gate does, for each input.
func TestSameAsTheGate(t *testing.T) {
	i := servertest.NewIssuer(t)
	denied := filepath.Join(t.TempDir(), "denylist")
	writeFile(t, denied, "san:uri:spiffe://example.org/tenant/acme/denied\n")
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		yaml = strings.Replace(yaml, "clientCA: [ca.crt]}", "clientCA: [ca.crt], revocation: {denylist: "+denied+"}}", 1)
		yaml = strings.Replace(yaml, "globex/*\"]", "globex/*\", \"dns:globex.example\"]\n    tools: {allow: [whoami]}", 1)
		return yaml + "  - {id: off, enabled: false, sans: [\"uri:spiffe://example.org/tenant/off/*\"]}\n" +
			"  - {id: \"{f}\", sans: [\"uri:spiffe://example.org/fleet/{f}/*\"]}\n" + i.Config("tenantClaim: tenant", "scopes: [call]", "binding: required")
	}})
	leaf := func(uri string, edit ...func(*pkitest.Leaf)) *pkitest.Cert {
		l := pkitest.Leaf{URIs: []string{"spiffe://example.org/" + uri}}
		for _, e := range edit {
			e(&l)
		}
		return g.CA.Issue(t, l)
	}
	acme := g.Cert("acme")
	token := func(claims servertest.Claims) *string {
		return new(i.Token(i.Claims("acme").With(servertest.Claims{"scope": "call", "cnf": confirm(acme)}).With(claims)))
	}
	key := new(g.Key("acme"))
	other := pkitest.NewCA(t, "Other CA")
	for _, tt := range []struct {
		name   string
		cert   *pkitest.Cert
		token  *string
		header string
		tool   string
		want   string
	}{
		{"good", acme, key, "acme", "whoami", "ok"},
		{"good, with a JWT", acme, token(nil), "", "echo", "ok"},
		{"no token", acme, nil, "", "", "token_missing"},
		{"malformed token", acme, new("a b"), "", "", "token_malformed"},
		{"unknown token", acme, new("nobody"), "", "", "token_unknown"},
		{"another tenant's", acme, new(g.Key("globex")), "", "", "tenant_mismatch"},
		{"header of another", acme, key, "globex", "", "header_mismatch"},
		{"header of several", acme, key, "acme, globex", "", "header_malformed"},
		{"denied tool", g.Cert("globex"), new(g.Key("globex")), "", "echo", "tool_denied"},
		{"unmapped", leaf("nobody"), key, "", "", "san_unmapped"},
		{"of two tenants", leaf("tenant/acme/x", func(l *pkitest.Leaf) { l.DNS = []string{"globex.example"} }), key, "", "", "san_ambiguous"},
		{"captured, configured", leaf("fleet/acme/1"), key, "", "", "san_ambiguous"},
		{"bad name", leaf("tenant/acme/%61"), key, "", "", "san_invalid"},
		{"disabled", leaf("tenant/off/1"), key, "", "", "tenant_disabled"},
		{"expired token", acme, token(servertest.Claims{"exp": 1}), "", "", "token_expired"},
		{"other audience", acme, token(servertest.Claims{"aud": "x"}), "", "", "token_audience"},
		{"no scope", acme, token(servertest.Claims{"scope": nil}), "", "", "token_scope"},
		{"other issuer", acme, token(servertest.Claims{"iss": "x"}), "", "", "token_issuer"},
		{"bound elsewhere", g.Cert("acme"), token(nil), "", "", "binding_mismatch"},
		{"not bound", acme, token(servertest.Claims{"cnf": nil}), "", "", "binding_missing"},
		{"unknown key", acme, new(i.Sign(servertest.Claims{"alg": "ES256", "kid": "x"}, i.Claims("acme"))), "", "", "token_key_unknown"},
		{"alg none", acme, new(i.Sign(servertest.Claims{"alg": "none", "kid": "k1"}, i.Claims("acme"))), "", "", "token_algorithm"},

		{"other CA", other.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/x"}}), key, "", "", "untrusted"},
		{"expired", leaf("tenant/acme/x", func(l *pkitest.Leaf) { l.NotAfter = time.Now().Add(-time.Minute) }), key, "", "", "expired"},
		{"server only", leaf("tenant/acme/x", func(l *pkitest.Leaf) { l.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), key, "", "", "wrong_usage"},
		{"denied", leaf("tenant/acme/denied"), key, "", "", "revoked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := atGate(t, g, tt.cert, tt.token, tt.header, tt.tool); got != tt.want {
				t.Errorf("the gate: %s, want %s", got, tt.want)
			}
			q := explain.Question{Chain: []*x509.Certificate{tt.cert.Leaf}, Token: tt.token, Tool: tt.tool}
			if tt.header != "" {
				q.TenantHeader = &tt.header
			}
			r := ask(t, g, q)
			if r.Reason != tt.want || r.Allowed != (tt.want == "ok") {
				t.Errorf("explained: %s, want %s", r.Reason, tt.want)
			}
			checkSteps(t, r)
			if said, _ := json.Marshal(r); tt.token != nil && len(*tt.token) > 20 && strings.Contains(string(said), *tt.token) {
				t.Error("the token is told")
			}
		})
	}
}

func ask(t *testing.T, g *servertest.Gate, q explain.Question) *explain.Report {
	t.Helper()
	c, err := config.Load(filepath.Join(g.Dir, "sangate.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := explain.Ask(t.Context(), c, q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkSteps: those before the one that refuses are ok, those behind were not
// reached.
func checkSteps(t *testing.T, r *explain.Report) {
	t.Helper()
	var outcomes []string
	for _, s := range r.Steps {
		outcomes = append(outcomes, s.Outcome)
	}
	text := strings.Join(outcomes, ",")
	if r.Allowed && text != strings.Repeat("ok,", 5)+"ok" {
		t.Errorf("allowed with steps %s", text)
	}
	if !r.Allowed && (strings.Count(text, "refused") != 1 || strings.Contains(text, "not reached,ok") || strings.Contains(text, "refused,ok") || r.Means == "" || r.Do == "") {
		t.Errorf("refused with steps %s; %q, %q", text, r.Means, r.Do)
	}
}

// atGate sends the request and reads the reason off the metrics.
func atGate(t *testing.T, g *servertest.Gate, cert *pkitest.Cert, token *string, header, tool string) string {
	t.Helper()
	read := func() map[string]float64 {
		all := g.By("sangate_auth_decisions_total", "reason")
		for reason, n := range g.By("sangate_tls_handshakes_total", "result") {
			if reason != "ok" {
				all[reason] += n
			}
		}
		return all
	}
	before := read()
	url, method, body := g.URL+"/tools", http.MethodGet, ""
	if tool != "" {
		url, method, body = g.URL+"/tool/"+tool+"/call", http.MethodPost, `{"message":"x"}`
		if tool == "whoami" {
			body = "{}"
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != nil {
		req.Header.Set("Authorization", "Bearer "+*token)
	}
	if header != "" {
		req.Header.Set("X-Octopus-Tenant-Id", header)
	}
	if res, err := g.Client(cert).Do(req); err == nil {
		_ = res.Body.Close()
	}
	var changed []string
	servertest.WaitFor(func() bool {
		changed = nil
		for reason, n := range read() {
			if n > before[reason] {
				changed = append(changed, reason)
			}
		}
		return len(changed) > 0
	}, 5*time.Second)
	return strings.Join(changed, "+")
}

// TestWeakKeysAsTheGate: explain takes and refuses weak keys as the running gate does,
// for each value of tls.weakClientKeys.
func TestWeakKeysAsTheGate(t *testing.T) {
	const none, rsa1024 = "clientCA: [ca.crt]", "clientCA: [ca.crt], weakClientKeys: [rsa1024]"
	g := servertest.Start(t, servertest.Options{})
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, token := g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/old"}, Key: key}), new(g.Key("acme"))
	for _, tt := range []struct{ from, to, want string }{{none, none, "bad_certificate"}, {none, rsa1024, "ok"}, {rsa1024, none, "bad_certificate"}} {
		if tt.from != tt.to {
			g.Configure(func(yaml string) string { return strings.Replace(yaml, tt.from, tt.to, 1) })
		}
		if got := atGate(t, g, weak, token, "", ""); got != tt.want {
			t.Errorf("%s: the gate: %q, want %q", tt.to, got, tt.want)
		}
		r := ask(t, g, explain.Question{Chain: []*x509.Certificate{weak.Leaf}, Token: token})
		if r.Reason != tt.want {
			t.Errorf("%s: explained: %q, want %q", tt.to, r.Reason, tt.want)
		}
		if said := fmt.Sprint(r.Steps); tt.want != "ok" && !strings.Contains(said, "RSA key of 1024 bits") {
			t.Errorf("%s: does not name the key: %s", tt.to, said)
		}
	}
}

// Another moment, an admin, and an unknown tool.
func TestOtherQuestions(t *testing.T) {
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return yaml + "admins: {sans: [\"email:ops@example.org\"], secondFactor: none}\n"
	}})
	key := new(g.Key("acme"))
	chain := []*x509.Certificate{g.Cert("acme").Leaf}
	if r := ask(t, g, explain.Question{Chain: chain, Token: key, At: time.Now().Add(2 * time.Hour)}); r.Reason != "expired" {
		t.Errorf("in two hours: %s", r.Reason)
	}
	if r := ask(t, g, explain.Question{Chain: chain, Token: key, Admin: true}); r.Reason != "san_unmapped" {
		t.Errorf("for /api: %s", r.Reason)
	}
	ops := g.CA.Issue(t, pkitest.Leaf{Emails: []string{"ops@example.org"}})
	if r := ask(t, g, explain.Question{Chain: []*x509.Certificate{ops.Leaf}, Admin: true}); !r.Allowed || r.Tenant != "@admins" {
		t.Errorf("an admin for /api: %+v", r)
	}
	if r := ask(t, g, explain.Question{Chain: chain, Token: key, Tool: "nobody"}); r.Allowed || r.Reason != "" || !strings.Contains(r.Means, "nobody") {
		t.Errorf("an unknown tool: %+v", r)
	}
	if r := ask(t, g, explain.Question{Chain: chain, Token: key}); fmt.Sprint(r.Steps) == "" || !r.Allowed {
		t.Errorf("%+v", r)
	}
}
