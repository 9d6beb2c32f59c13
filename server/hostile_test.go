package server_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// fatCert is self-signed, with a subject of n attributes of size bytes each.
func fatCert(t *testing.T, n, size int) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for range n {
		template.Subject.ExtraNames = append(template.Subject.ExtraNames,
			pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: strings.Repeat("x", size)})
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestAlertsOutlastOrdinaryRefusals: many clients with an ordinary wrong certificate
// are told unknown_ca; after hostile chains nobody's chain is given to crypto/tls.
//
// Holds: stranger/alert-cost
func TestAlertsOutlastOrdinaryRefusals(t *testing.T) {
	g := servertest.Start(t, servertest.Options{})
	alert := func(cert tls.Certificate) string {
		config := g.TLS(g.Cert("acme"))
		config.Certificates, config.GetClientCertificate = nil, func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		conn, err := tls.Dial("tcp", g.Addr, config)
		if err == nil {
			_, err = io.ReadAll(conn)
			_ = conn.Close()
		}
		if err == nil {
			t.Fatal("let in")
		}
		return err.Error()
	}
	ordinary, fat := fatCert(t, 1, 1), fatCert(t, 1_000, 1)
	for i := range 20 {
		if got := alert(ordinary); !strings.Contains(got, "unknown certificate authority") {
			t.Fatalf("ordinary certificate %d: got %s, want unknown certificate authority", i, got)
		}
	}
	generic := 0
	for range 40 {
		if strings.Contains(alert(fat), "bad certificate") {
			generic++
		}
	}
	if generic < 20 {
		t.Errorf("%d of 40 hostile certificates were verified by us, want most", generic)
	}
}

// TestFatHandshakesRefusedCheaply: a handshake of more bytes than it may have is
// ended before the certificate is parsed, a smaller one with a fat name is refused
// too, each writes little log, and others are let in.
//
// Holds: stranger/handshake-bytes
func TestFatHandshakesRefusedCheaply(t *testing.T) {
	var log lockedBuffer
	g := servertest.Start(t, servertest.Options{Log: &log})
	for _, tt := range []struct {
		name    string
		n, size int
		says    string // "" where crypto/tls may have looked at it first
	}{
		{"8,000 attributes twice", 8_000, 1, "maxHandshakeBytes"},
		{"a name of 125,000 bytes", 1, 125_000, "maxHandshakeBytes"},
		{"1,500 attributes", 1_500, 1, ""},
		{"a name of 25,000 bytes", 1, 25_000, ""},
	} {
		before, refused := len(log.String()), g.By(handshakes, "result")
		cert := fatCert(t, tt.n, tt.size)
		config := g.TLS(g.Cert("acme"))
		config.Certificates, config.GetClientCertificate = nil, func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		conn, err := tls.Dial("tcp", g.Addr, config)
		if err == nil {
			_, err = io.ReadAll(conn)
			_ = conn.Close()
		}
		if err == nil {
			t.Errorf("%s: let in", tt.name)
		}
		total := func(m map[string]float64) float64 { return m["bad_certificate"] + m["untrusted"] }
		if !servertest.WaitFor(func() bool { return total(g.By(handshakes, "result")) == total(refused)+1 }, 5*time.Second) {
			t.Errorf("%s: got %v, want one more refused than %v", tt.name, g.By(handshakes, "result"), refused)
		}
		servertest.WaitFor(func() bool { return strings.Contains(log.String()[before:], "handshake refused") }, 5*time.Second)
		said := log.String()[before:]
		if len(said) > 4<<10 || !strings.Contains(said, "handshake refused") || !strings.Contains(said, tt.says) {
			t.Errorf("%s: %d bytes of log, want at most 4 KB that say %q: %.300s", tt.name, len(said), tt.says, said)
		}
	}
	if res := ask(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("acme")); res.StatusCode != 200 {
		t.Errorf("a good client afterwards: %s", res.Status)
	}
}
