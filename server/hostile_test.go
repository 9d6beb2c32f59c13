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
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
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

// TestAlertsAreExact: every refusal has the alert of its reason, whatever handshakes
// came before from the same address, and no chain is verified by crypto/tls for it: a
// mesh of issuers is refused by our own count of signatures each time.
//
// Holds: stranger/alert-cost
func TestAlertsAreExact(t *testing.T) {
	t.Parallel()
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
	over := g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/agent"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	ordinary, mesh := fatCert(t, 1, 1), meshCert(t, 5)
	for i := range 20 {
		good := ask(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+"/health", "")
		if good.StatusCode != 200 {
			t.Fatalf("a good client: %s", good.Status)
		}
		for _, tt := range []struct {
			name, want string
			cert       tls.Certificate
		}{
			{"ordinary certificate", "unknown certificate authority", ordinary},
			{"expired certificate", "expired certificate", over.TLS},
			{"mesh", "bad certificate", mesh},
		} {
			if got := alert(tt.cert); !strings.Contains(got, tt.want) {
				t.Fatalf("%s, round %d: got %s, want %s", tt.name, i, got, tt.want)
			}
		}
	}
	if got := g.By(handshakes, "result"); got["bad_certificate"] != 20 || got["untrusted"] != 20 || got["expired"] != 20 {
		t.Errorf("handshakes by result: %v, want 20 of each refusal", got)
	}
}

// meshCert is a leaf below n issuers that have all signed each other.
func meshCert(t *testing.T, n int) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mesh"}}
	made := func(subject string, number int, ca bool) []byte {
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(int64(number)), Subject: pkix.Name{CommonName: subject},
			DNSNames: []string{fmt.Sprintf("n%d.example", number)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: ca, BasicConstraintsValid: ca}, issuer, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	cert := tls.Certificate{Certificate: [][]byte{made("leaf", 0, false)}, PrivateKey: key}
	for i := range n {
		cert.Certificate = append(cert.Certificate, made("mesh", i+1, true))
	}
	return cert
}

// TestFatHandshakesRefusedCheaply: a handshake of more bytes than it may have is
// ended before the certificate is parsed, a smaller one with a fat name is refused
// too, each writes little log, and others are let in.
//
// Holds: stranger/handshake-bytes
func TestFatHandshakesRefusedCheaply(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	g := servertest.Start(t, servertest.Options{Log: &log})
	for _, tt := range []struct {
		name    string
		n, size int
		says    string
	}{
		{"8,000 attributes twice", 8_000, 1, "maxHandshakeBytes"},
		{"a name of 125,000 bytes", 1, 125_000, "maxHandshakeBytes"},
		{"500 attributes", 500, 1, "at most"},
		{"a name of 6,000 bytes", 1, 6_000, "at most"},
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
