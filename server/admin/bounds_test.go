package admin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/admission"
)

// stranger is a leaf below n issuers that have all signed each other, with a name of
// size bytes.
func stranger(t *testing.T, n, size int) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mesh"}}
	cert := tls.Certificate{PrivateKey: key}
	for i := range n + 1 {
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: issuer.Subject, DNSNames: []string{fmt.Sprintf("n%d.example", i)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: i > 0, BasicConstraintsValid: i > 0}
		if i == 0 {
			template.Subject = pkix.Name{CommonName: strings.Repeat("x", size)}
		}
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert.Certificate = append(cert.Certificate, der)
	}
	return cert
}

// TestAdminHandshakesAreBounded: the admin listener takes as few bytes and signatures of
// a stranger's certificates as the main one, waits as short for a ClientHello, tells
// clients the alert of their reason, and lets good ones in.
//
// Holds: local/admin-handshakes
func TestAdminHandshakesAreBounded(t *testing.T) {
	const budget = 16 << 10
	ca := pkitest.NewCA(t, "operations")
	bundle, err := pki.NewBundle([]*x509.Certificate{ca.Cert})
	if err != nil {
		t.Fatal(err)
	}
	pair := ca.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}}).TLS
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := admin.NewListener(inner, time.Now, admin.Bounds{Bytes: budget, Hello: 100 * time.Millisecond})
	l.Use(&admin.Door{MinVersion: tls.VersionTLS13, Clients: bundle, Certificate: func() (*tls.Certificate, error) { return &pair, nil }})
	dropped := make(chan admission.Reason, 10)
	l.OnDrop = func(r admission.Reason) { dropped <- r }
	said := make(chan string, 10)
	srv := &http.Server{ConnContext: admin.ConnContext, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(lines(said), "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})}
	go func() { _ = srv.Serve(l) }() // until Close
	defer srv.Close()
	good := ca.Issue(t, pkitest.Leaf{DNS: []string{"prometheus.internal"}}).TLS
	for _, tt := range []struct {
		name        string
		cert        tls.Certificate
		alert, says string
	}{
		{"a certificate over the budget", stranger(t, 0, budget), "", "limits.maxHandshakeBytes"},
		{"a mesh of issuers", stranger(t, 5, 1), "bad certificate", "too many ways"},
		{"another CA", pkitest.NewCA(t, "operations").Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}).TLS, "unknown certificate authority", "untrusted"},
		{"good", good, "", ""},
	} {
		config := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tt.cert, nil
		}}
		size := 2 * budget
		if tt.says != "" {
			size = 0 // nothing that is unread resets the connection before the alert is read
		}
		got, err := answerOf(inner.Addr().String(), config, size)
		switch {
		case tt.says == "" && (err != nil || !strings.HasPrefix(got, "HTTP/1.1 200")):
			t.Errorf("%s: %q, %v; want it let in, with a request beyond the budget", tt.name, got, err)
		case tt.says != "" && got != "":
			t.Errorf("%s: let in", tt.name)
		case tt.alert != "" && !strings.Contains(err.Error(), tt.alert):
			t.Errorf("%s: %v, want the alert %s", tt.name, err, tt.alert)
		}
		if tt.says != "" {
			if got := <-said; !strings.Contains(got, tt.says) {
				t.Errorf("%s: the log says %q, want %q", tt.name, got, tt.says)
			}
		}
	}
	plain, err := http.Get("http://" + inner.Addr().String() + "/")
	if err != nil {
		t.Fatalf("plain HTTP: %v", err)
	}
	_ = plain.Body.Close()
	if plain.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP: %s, want 400", plain.Status)
	}
	<-said
	for _, sends := range []string{"", "\x16\x03\x01\x02\x00half"} {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sends); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); err != nil { // until the server closes it, long before ReadHeaderTimeout
			t.Errorf("%q: %v", sends, err)
		}
		_ = conn.Close()
		if got := <-dropped; got != admission.SilentTimeout {
			t.Errorf("%q: dropped for %q, want %q", sends, got, admission.SilentTimeout)
		}
		<-said
	}
}

// answerOf sends a request with a body of size bytes, if any, once the handshake is done,
// and returns what comes back.
func answerOf(addr string, config *tls.Config, size int) (string, error) {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		if size == 0 {
			return
		}
		_, _ = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size)) // reading tells
	}()
	got, err := io.ReadAll(conn)
	_ = conn.Close()
	<-writing
	return string(got), err
}

// lines sends each line that is logged.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}
