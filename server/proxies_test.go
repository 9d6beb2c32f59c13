package server_test

import (
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// behindProxy is a gate that believes proxy.internal and envoy.internal whose
// certificate they were shown.
func behindProxy(t *testing.T, opts servertest.Options, more string) *servertest.Gate {
	t.Helper()
	opts.Config = func(yaml string) string {
		return yaml + "proxies:\n  - {sans: [\"dns:proxy.internal\"], header: clientCert}\n  - {sans: [\"dns:envoy.internal\"], header: xfcc}\n" + more
	}
	return servertest.Start(t, opts)
}

// carry is the header line by which a proxy carries a certificate.
func carry(c *pkitest.Cert) string {
	return "Client-Cert: :" + base64.StdEncoding.EncodeToString(c.Leaf.Raw) + ":"
}

func carryXFCC(c *pkitest.Cert) string {
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Leaf.Raw}))
	return `X-Forwarded-Client-Cert: Hash=00;Cert="` + url.PathEscape(text) + `";Subject=""`
}

// The certificate that a configured proxy carries is the client's, verified as if
// it had been presented; from anybody else the header means nothing.
func TestProxiedCertificates(t *testing.T) {
	t.Parallel()
	i := servertest.NewIssuer(t)
	g := behindProxy(t, servertest.Options{}, i.Config("tenantClaim: tenant", "binding: required"))
	proxy := g.Client(g.CA.Issue(t, pkitest.Leaf{DNS: []string{"proxy.internal"}}))
	envoy := g.Client(g.CA.Issue(t, pkitest.Leaf{DNS: []string{"envoy.internal"}}))
	acme, globex := g.Cert("acme"), g.Cert("globex")
	key := func(tenant string) string { return "Authorization: Bearer " + g.Key(tenant) }
	bound := jwtOf(i.Token(i.Claims("acme").With(claims{"cnf": confirms(acme)})))
	stranger := pkitest.NewCA(t, "Other CA").Issue(t, pkitest.Leaf{URIs: []string{acmeURI}})
	old := g.CA.Issue(t, pkitest.Leaf{URIs: []string{acmeURI}, NotAfter: time.Now().Add(-time.Minute)})
	for name, tc := range map[string]struct {
		client  *http.Client
		headers []string
		status  int
		reason  string
		tenant  string
	}{
		"carried":                      {proxy, []string{carry(acme), key("acme")}, 200, "ok", "acme"},
		"another's on one connection":  {proxy, []string{carry(globex), key("globex")}, 200, "ok", "globex"},
		"carried by Envoy":             {envoy, []string{carryXFCC(acme), key("acme")}, 200, "ok", "acme"},
		"bound token":                  {proxy, []string{carry(acme), bound}, 200, "ok", "acme"},
		"bound to another":             {proxy, []string{carry(g.Cert("acme")), bound}, 401, "binding_mismatch", ""},
		"another tenant's key":         {proxy, []string{carry(acme), key("globex")}, 403, "tenant_mismatch", ""},
		"nothing carried":              {proxy, []string{key("acme")}, 401, "no_certificate", ""},
		"in the other proxy's header":  {proxy, []string{carryXFCC(acme), key("acme")}, 401, "no_certificate", ""},
		"twice":                        {proxy, []string{carry(acme), carry(acme), key("acme")}, 401, "bad_certificate", ""},
		"garbage":                      {proxy, []string{"Client-Cert: :AAAA:", key("acme")}, 401, "bad_certificate", ""},
		"of another CA":                {proxy, []string{carry(stranger), key("acme")}, 401, "untrusted", ""},
		"expired":                      {proxy, []string{carry(old), key("acme")}, 401, "expired", ""},
		"the proxy's own":              {proxy, []string{carry(g.CA.Issue(t, pkitest.Leaf{DNS: []string{"proxy.internal"}})), key("acme")}, 403, "san_unmapped", ""},
		"from a client":                {g.Client(acme), []string{carry(globex), key("acme")}, 200, "ok", "acme"},
		"from a client, with that key": {g.Client(acme), []string{carry(globex), key("globex")}, 403, "tenant_mismatch", ""},
		"from nobody's":                {g.Client(g.CA.Issue(t, pkitest.Leaf{DNS: []string{"proxy.example"}})), []string{carry(acme), key("acme")}, 403, "san_unmapped", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := g.By(decisions, "reason")
			res := ask(t, tc.client, http.MethodPost, g.URL+"/tool/whoami/call", "{}", append(tc.headers, asJSON)...)
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != tc.status || (tc.status == 200 && !strings.Contains(string(body), `"tenant":"`+tc.tenant+`"`)) {
				t.Errorf("%s %s, want %d for %q", res.Status, body, tc.status, tc.tenant)
			}
			if res.Header.Get("Connection") == "close" {
				t.Error("the proxy's connection is closed on others")
			}
			wantChange(t, g, decisions, "reason", before, map[string]float64{tc.reason: 1})
		})
	}
}

// A call that a proxy carried ends with the client's certificate, and with the
// proxy's; others on its connection go on.
func TestProxiedCallsEnd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end    func(g *servertest.Gate, ahead *atomic.Int64)
		reason string
		both   bool // globex's ends, too
	}{
		"the client's is denied": {func(g *servertest.Gate, _ *atomic.Int64) {
			g.Change("certificate", func() { g.Write("denylist", []byte("san:uri:"+acmeURI+"\n")) })
		}, "cert_revoked", false},
		"the client's expires": {func(_ *servertest.Gate, ahead *atomic.Int64) { ahead.Add(int64(20 * time.Minute)) }, "cert_expired", false},
		"the proxy's is denied": {func(g *servertest.Gate, _ *atomic.Int64) {
			g.Change("certificate", func() { g.Write("denylist", []byte("san:dns:proxy.internal\n")) })
		}, "cert_revoked", true},
		"it is no proxy any more": {func(g *servertest.Gate, _ *atomic.Int64) {
			g.Configure(func(yaml string) string { return strings.Replace(yaml, "dns:proxy.internal", "dns:other.internal", 1) })
		}, "cert_untrusted", true},
	} {
		t.Run(name, func(t *testing.T) {
			var ahead atomic.Int64
			wait, began, release := waiting(t)
			g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{wait}, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
				Config: func(yaml string) string {
					return strings.Replace(yaml, "clientCA: [ca.crt]}", "clientCA: [ca.crt], revocation: {crlMode: soft, denylist: denylist}}", 1) +
						"proxies: [{sans: [\"dns:proxy.internal\"], header: clientCert}]\n"
				}, Files: map[string]string{"denylist": "# nobody\n"}})
			proxy := g.Client(g.CA.Issue(t, pkitest.Leaf{DNS: []string{"proxy.internal"}}))
			acme := g.CA.Issue(t, pkitest.Leaf{URIs: []string{acmeURI}, NotAfter: time.Now().Add(10 * time.Minute)})
			before := g.By(decisions, "reason")
			ours := start(t, proxy, g.URL+"/tool/wait/call", "{}", asJSON, carry(acme), "Authorization: Bearer "+g.Key("acme"))
			<-began
			others := start(t, proxy, g.URL+"/tool/wait/call", "{}", asJSON, carry(g.Cert("globex")), "Authorization: Bearer "+g.Key("globex"))
			<-began
			tc.end(g, &ahead)
			select {
			case got := <-ours:
				if got.err != nil || got.res.StatusCode != 401 {
					t.Errorf("the call ended with %v, %v", got.res, got.err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the call goes on")
			}
			want := map[string]float64{"ok": 2, tc.reason: 1}
			if tc.both {
				want[tc.reason]++
			}
			wantChange(t, g, decisions, "reason", before, want)
			close(release)
			if got := <-others; got.err != nil || (got.res.StatusCode == 200) == tc.both {
				t.Errorf("globex's call: %v, %v", got.res, got.err)
			}
		})
	}
}
