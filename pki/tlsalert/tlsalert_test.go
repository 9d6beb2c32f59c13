package tlsalert_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/tlsalert"
)

// muted is a connection as a server has to have it.
type muted struct {
	net.Conn
	alert *tlsalert.Sender
}

func (c *muted) Write(p []byte) (int, error) {
	if c.alert.Sent() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// serve answers handshakes by config until the test ends.
func serve(t *testing.T, config *tls.Config) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return hello.Conn.(*muted).alert.Configure(config), nil
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(&muted{Conn: raw, alert: tlsalert.New(raw)}, base)
			_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
			if conn.Handshake() == nil {
				_, _ = conn.Write([]byte("let in"))
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String()
}

func snapshot(t *testing.T, server, clients *pkitest.CA) *pki.Snapshot {
	cert := server.Issue(t, pkitest.Leaf{IPs: []string{"127.0.0.1"}}).TLS
	bundle, err := pki.NewBundle([]*x509.Certificate{clients.Cert})
	if err != nil {
		t.Fatal(err)
	}
	return &pki.Snapshot{Certificate: &cert, Bundle: bundle}
}

// outcome is what the client reads, or the error that it gets.
func outcome(addr string, config *tls.Config) string {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	got, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return string(got)
}

// revoked is a revocation list of one serial number.
type revoked string

func (r revoked) Prepare(chain []*x509.Certificate, _ []pki.SAN) any {
	return chain[0].SerialNumber.String()
}

func (r revoked) Check(prepared any, _ time.Time) pki.Finding {
	if prepared == string(r) {
		return pki.Finding{Reason: pki.Revoked}
	}
	return pki.Finding{}
}

// TestAlertFitsReason: a client with an unknown, expired, early or revoked certificate
// is told so by the alert, others get bad_certificate, and good ones are let in.
//
// Holds: stranger/alert-cost
func TestAlertFitsReason(t *testing.T) {
	server, clients := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients")
	good := pkitest.Leaf{DNS: []string{"a.example"}}
	s, gone := snapshot(t, server, clients), clients.Issue(t, good)
	s.Revocation = revoked(gone.Leaf.SerialNumber.String())
	addr := serve(t, s.ServerConfig(pki.TLSOptions{MinVersion: tls.VersionTLS12}))
	hour := time.Hour
	for _, tt := range []struct {
		name string
		cert *pkitest.Cert
		want string
	}{
		{"good", clients.Issue(t, good), "let in"},
		{"another CA", pkitest.NewCA(t, "clients").Issue(t, good), "unknown certificate authority"},
		{"expired", clients.Issue(t, pkitest.Leaf{DNS: good.DNS, NotBefore: time.Now().Add(-2 * hour), NotAfter: time.Now().Add(-hour)}), "expired certificate"},
		{"early", clients.Issue(t, pkitest.Leaf{DNS: good.DNS, NotBefore: time.Now().Add(hour), NotAfter: time.Now().Add(2 * hour)}), "expired certificate"},
		{"revoked", gone, "revoked certificate"},
		{"no usage", clients.Issue(t, pkitest.Leaf{DNS: good.DNS, NoExtKeyUsage: true}), "bad certificate"},
		{"another key", clients.Issue(t, pkitest.Leaf{DNS: good.DNS, OtherKey: true}), "error decrypting message"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			config := &tls.Config{RootCAs: server.Pool(), MaxVersion: version, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &tt.cert.TLS, nil
			}}
			got := outcome(addr, config)
			if !strings.Contains(got, tt.want) {
				t.Errorf("%s, %s: got %q, want %q", tt.name, tls.VersionName(version), got, tt.want)
			}
		}
	}
}

// TestAlertAfterHandshake: a client that is refused after its handshake is told why
// with TLS 1.3; with TLS 1.2 its connection is closed.
func TestAlertAfterHandshake(t *testing.T) {
	server, clients := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients")
	s := snapshot(t, server, clients)
	for _, tt := range []struct {
		reason  pki.Reason
		version uint16
		tickets bool
		want    string
	}{
		{pki.Revoked, tls.VersionTLS13, false, "revoked certificate"},
		{pki.RevocationUnknown, tls.VersionTLS13, false, "bad certificate"},
		{pki.Revoked, tls.VersionTLS13, true, ""},
		{pki.Revoked, tls.VersionTLS12, false, ""},
	} {
		config := s.ServerConfig(pki.TLSOptions{MinVersion: tls.VersionTLS12, SessionTickets: tt.tickets})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			raw, err := ln.Accept()
			if err != nil {
				done <- err
				return
			}
			alert := tlsalert.New(raw)
			conn := tls.Server(&muted{Conn: raw, alert: alert}, alert.ConfigureSteps(config, config.VerifyConnection))
			if err = conn.Handshake(); err == nil {
				state := conn.ConnectionState()
				alert.Judge(&state, &pki.RefusedError{Reason: tt.reason})
			}
			_ = conn.Close()
			done <- err
		}()
		cert := clients.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}).TLS
		got := outcome(ln.Addr().String(), &tls.Config{RootCAs: server.Pool(), MaxVersion: tt.version,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }})
		if err := <-done; err != nil {
			t.Errorf("%s, %s: the handshake failed: %v", tt.reason, tls.VersionName(tt.version), err)
		}
		_ = ln.Close()
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s, %s, tickets %t: got %q, want %q", tt.reason, tls.VersionName(tt.version), tt.tickets, got, tt.want)
		}
	}
}

// TestAlertBySuite: OpenSSL reads the alert with each cipher suite of TLS 1.3.
func TestAlertBySuite(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	server, clients := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients")
	addr := serve(t, snapshot(t, server, clients).ServerConfig(pki.TLSOptions{}))
	cert, key := pkitest.NewCA(t, "another").Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}).Write(t, t.TempDir(), "client")
	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", addr, "-cert", cert, "-key", key, "-ciphersuites", suite, "-ign_eof")
		out, _ := cmd.CombinedOutput() // it is refused
		if !strings.Contains(string(out), "alert unknown ca") || !strings.Contains(string(out), "SSL alert number 48") {
			t.Errorf("%s: %s", suite, out)
		}
	}
}
