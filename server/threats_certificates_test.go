package server_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

const handshakes = "sangate_tls_handshakes_total"

// ask sends one request, with header lines, and returns the answer with its
// body read.
func ask(t *testing.T, c *http.Client, method, url, body string, headers ...string) *http.Response {
	t.Helper()
	res, err := try(t, c, method, url, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func try(t *testing.T, c *http.Client, method, url, body string, headers ...string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	res.Body = io.NopCloser(bytes.NewReader(data))
	return res, err
}

// wantChange waits until something was added to a counter, and checks that it
// was this and no more.
func wantChange(t *testing.T, g *servertest.Gate, name, label string, before, want map[string]float64) {
	t.Helper()
	var got map[string]float64
	servertest.WaitFor(func() bool {
		got = g.By(name, label)
		maps.DeleteFunc(got, func(of string, n float64) bool { return n == before[of] })
		for of := range got {
			got[of] -= before[of]
		}
		return maps.Equal(got, want)
	}, 5*time.Second)
	if !maps.Equal(got, want) {
		t.Errorf("%s went up by %v, want %v", name, got, want)
	}
}

const acmeURI = "spiffe://example.org/tenant/acme/agent"

// TestCertificatesRefusedAtHandshake holds a promise of docs/security.md.
//
// Holds: stranger/bad-certificate
func TestCertificatesRefusedAtHandshake(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	leaf := func(edit func(*pkitest.Leaf)) *pkitest.Cert {
		l := pkitest.Leaf{URIs: []string{acmeURI}}
		if edit != nil {
			edit(&l)
		}
		return g.CA.Issue(t, l)
	}
	below := func(depth int) *pkitest.CA {
		ca := g.CA
		for i := range depth {
			ca = ca.Intermediate(t, fmt.Sprint("Intermediate ", i), nil)
		}
		return ca
	}
	of := func(ca *pkitest.CA) *pkitest.Cert { return ca.Issue(t, pkitest.Leaf{URIs: []string{acmeURI}}) }
	bare := of(below(1))
	bare.TLS.Certificate = bare.TLS.Certificate[:1]
	for _, tc := range []struct {
		name   string
		cert   *pkitest.Cert
		result string
	}{
		{"good", leaf(nil), "ok"},
		{"six deep", of(below(4)), "ok"},
		{"none", nil, "no_certificate"},
		{"self-signed", leaf(func(l *pkitest.Leaf) { l.SelfSigned = true }), "untrusted"},
		{"other CA", of(pkitest.NewCA(t, "Test CA")), "untrusted"},
		{"without its intermediate", bare, "untrusted"},
		{"expired", leaf(func(l *pkitest.Leaf) {
			l.NotBefore, l.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Second)
		}), "expired"},
		{"not yet valid", leaf(func(l *pkitest.Leaf) {
			l.NotBefore, l.NotAfter = time.Now().Add(time.Minute), time.Now().Add(time.Hour)
		}), "not_yet_valid"},
		{"intermediate expired", of(g.CA.Intermediate(t, "Old", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })), "expired"},
		{"serverAuth only", leaf(func(l *pkitest.Leaf) { l.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "wrong_usage"},
		{"no usage", leaf(func(l *pkitest.Leaf) { l.NoExtKeyUsage = true }), "wrong_usage"},
		{"any usage", leaf(func(l *pkitest.Leaf) { l.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), "wrong_usage"},
		{"CA as leaf", leaf(func(l *pkitest.Leaf) { l.IsCA = true }), "wrong_usage"},
		{"may sign", leaf(func(l *pkitest.Leaf) { l.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign }), "wrong_usage"},
		{"another's key", leaf(func(l *pkitest.Leaf) { l.OtherKey = true }), "bad_certificate"},
		{"seven deep", of(below(5)), "bad_certificate"},
		{"path length", of(g.CA.Intermediate(t, "Last", func(c *x509.Certificate) { c.MaxPathLenZero = true }).Intermediate(t, "One more", nil)), "untrusted"},
		{"name constraints", of(g.CA.Intermediate(t, "Elsewhere", func(c *x509.Certificate) { c.PermittedURIDomains = []string{"example.com"} })), "untrusted"},
		{"65 names", leaf(func(l *pkitest.Leaf) { l.DNS = slices.Repeat([]string{"a.b"}, 64) }), "bad_certificate"},
		{"10,000 names", leaf(func(l *pkitest.Leaf) { l.DNS = slices.Repeat([]string{"a.b"}, 10_000) }), "bad_certificate"},
		{"10,000 long names", leaf(func(l *pkitest.Leaf) { l.URIs = slices.Repeat([]string{acmeURI}, 10_000) }), "protocol"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, decided := g.By(handshakes, "result"), g.By(decisions, "reason")
			res, err := try(t, g.Client(tc.cert, servertest.HTTP1), http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("acme"))
			if (err == nil) != (tc.result == "ok") {
				t.Fatalf("GET /tools = %v, %v", res, err)
			}
			wantChange(t, g, handshakes, "result", before, map[string]float64{tc.result: 1})
			if tc.result == "ok" {
				decided["ok"]++
			}
			if now := g.By(decisions, "reason"); !maps.Equal(now, decided) {
				t.Errorf("decisions %v, want %v", now, decided)
			}
		})
	}
}

// What is not a whole handshake is counted, too, and by its own reason.
func TestBrokenHandshakes(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	cert := g.Cert("acme")
	raw := func(text string) func() error {
		return func() error {
			conn, err := net.Dial("tcp", g.Addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			return conn.Close()
		}
	}
	shake := func(edit func(*tls.Config)) func() error {
		return func() error {
			c := g.TLS(cert)
			edit(c)
			conn, err := tls.Dial("tcp", g.Addr, c)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Read(make([]byte, 1))
			return err
		}
	}
	for _, tc := range []struct {
		name, result string
		do           func() error
	}{
		{"plain HTTP", "protocol", raw("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")},
		{"gone at once", "aborted", raw("")},
		{"half a record", "aborted", raw("\x16\x03\x01\x02\x00\x01")},
		{"alert first", "aborted", raw("\x15\x03\x01\x00\x02\x02\x28")},
		{"TLS 1.2", "protocol", shake(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })},
		{"other application protocol", "protocol", shake(func(c *tls.Config) { c.NextProtos = []string{"imap"} })},
		{"does not trust the gate", "aborted", shake(func(c *tls.Config) { c.RootCAs = x509.NewCertPool() })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := g.By(handshakes, "result")
			err := tc.do()
			if err == nil && strings.HasPrefix(tc.name, "TLS") {
				t.Error("no error at the client")
			}
			wantChange(t, g, handshakes, "result", before, map[string]float64{tc.result: 1})
		})
	}
}

// logLines keeps each write of a log.
type logLines struct {
	mu  sync.Mutex
	all []string
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(p))
	return len(p), nil
}

// Names that parse, and must not be used: told by their reason, whatever the
// token, and one line of the log each.
//
// Holds: client/one-tenant-per-name
func TestNamesRefused(t *testing.T) {
	t.Parallel()
	log := new(logLines)
	g := servertest.Start(t, servertest.Options{Log: log, Config: func(yaml string) string {
		return strings.Replace(yaml, `tenant/globex/*"`, `tenant/globex/*", "dns:*.globex.example"`, 1) + `
  - {id: "off", enabled: false, sans: ["uri:spiffe://example.org/tenant/off/*"]}
  - {id: "{tenant}", sans: ["uri:spiffe://example.org/fleet/{tenant}/agent/*"]}
`
	}})
	uri := func(uris ...string) pkitest.Leaf { return pkitest.Leaf{URIs: uris} }
	dns := func(names ...string) pkitest.Leaf { return pkitest.Leaf{DNS: names, URIs: []string{acmeURI}} }
	fleet := func(tenant string) pkitest.Leaf { return uri("spiffe://example.org/fleet/" + tenant + "/agent/1") }
	for _, tc := range []struct {
		name   string
		leaf   pkitest.Leaf
		reason string
	}{
		{"DNS with newline", dns("a.example\n{\"level\":\"INFO\",\"msg\":\"forged\"}"), "san_invalid"},
		{"DNS with ESC", dns("a\x1b[2J.example"), "san_invalid"},
		{"DNS with NUL", dns("x.globex.example\x00.evil.example"), "san_invalid"},
		{"DNS wildcard", dns("*.globex.example"), "san_invalid"},
		{"DNS empty", dns(""), "san_invalid"},
		{"DNS with a last dot", dns("x.globex.example."), "san_invalid"},
		{"dot segments", uri("spiffe://example.org/tenant/globex/../acme/a"), "san_invalid"},
		{"percent", uri("spiffe://example.org/tenant/%61cme/a"), "san_invalid"},
		{"encoded slash", uri("spiffe://example.org/tenant/acme%2Fa"), "san_invalid"},
		{"two slashes", uri("spiffe://example.org/tenant//acme/a"), "san_invalid"},
		{"last slash", uri("spiffe://example.org/tenant/acme/"), "san_invalid"},
		{"query", uri(acmeURI + "?a"), "san_invalid"},
		{"fragment", uri(acmeURI + "#a"), "san_invalid"},
		{"user", uri("spiffe://user@example.org/tenant/acme/a"), "san_invalid"},
		{"port", uri("spiffe://example.org:443/tenant/acme/a"), "san_invalid"},
		{"scheme in capitals", uri("SPIFFE://example.org/tenant/acme/a"), "san_invalid"},
		{"trust domain in capitals", uri("spiffe://EXAMPLE.org/tenant/acme/a"), "san_invalid"},
		{"two SPIFFE IDs", uri(acmeURI, acmeURI+"2"), "san_invalid"},
		{"long name", uri(acmeURI + strings.Repeat("a", 2048)), "san_invalid"},
		{"two tenants", dns("x.globex.example"), "san_ambiguous"},
		{"unmapped", uri("spiffe://example.org/tenant/initech/a"), "san_unmapped"},
		{"tenant in capitals", uri("spiffe://example.org/tenant/ACME/a"), "san_unmapped"},
		{"disabled", uri("spiffe://example.org/tenant/off/a"), "tenant_disabled"},
		{"common name only", pkitest.Leaf{CommonName: "acme"}, "san_missing"},
		{"common name is a SPIFFE ID", pkitest.Leaf{CommonName: acmeURI}, "san_missing"},
		{"user principal name only", pkitest.Leaf{UPNs: []string{"bot@acme.example"}}, "san_missing"},
		{"captured, and configured", fleet("acme"), "san_ambiguous"},
		{"captured, configured and disabled", fleet("off"), "san_ambiguous"},
		{"captured, capitals", fleet("Initech"), "san_invalid"},
		{"captured, first a dot", fleet(".initech"), "san_invalid"},
		{"captured, dots", fleet(".."), "san_invalid"},
		{"captured, 200 bytes", fleet(strings.Repeat("a", 200)), "san_invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, token := g.Client(g.CA.Issue(t, tc.leaf)), "Authorization: Bearer "+g.Key("acme")
			before := g.By(decisions, "reason")
			wantError(t, ask(t, client, http.MethodGet, g.URL+"/tools", "", token), 403, "forbidden")
			wantError(t, ask(t, client, http.MethodPost, g.URL+"/tool/whoami/call", "{}", token, asJSON), 403, "forbidden")
			wantError(t, ask(t, client, http.MethodPost, g.URL+"/mcp", stateless("tools/list", ""), token, asJSON, accept), 403, "forbidden")
			wantChange(t, g, decisions, "reason", before, map[string]float64{tc.reason: 3})
		})
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	refused := 0
	for _, line := range log.all {
		var entry struct{ Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(c rune) bool { return c < ' ' || c == 0x7f }) {
			t.Errorf("not one line of JSON: %q: %v", line, err)
		}
		if entry.Msg == "forged" {
			t.Errorf("forged line: %q", line)
		}
		if entry.Msg == "request refused" {
			refused++
		}
	}
	if refused != 3*32 {
		t.Errorf("%d refusals logged, want %d", refused, 3*32)
	}
}
