package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// snapshotOf has a server certificate of server and trusts clients.
func snapshotOf(t *testing.T, server *pkitest.CA, clients ...*pkitest.CA) *Snapshot {
	t.Helper()
	cert := server.Issue(t, pkitest.Leaf{IPs: []string{"127.0.0.1"}}).TLS
	var anchors []*x509.Certificate
	for _, ca := range clients {
		anchors = append(anchors, ca.Cert)
	}
	bundle, err := NewBundle(anchors)
	if err != nil {
		t.Fatal(err)
	}
	return &Snapshot{Certificate: &cert, Bundle: bundle, Generation: 1}
}

// handshakes accepts connections and reports how each handshake ended.
func handshakes(t *testing.T, config func() *tls.Config, timeout time.Duration) (addr string, results <-chan result) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := config().Clone()
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return config(), nil }
	out := make(chan result, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			conn := tls.Server(raw, base)
			err = conn.HandshakeContext(ctx)
			cancel()
			if err == nil {
				_, err = conn.Write([]byte{1}) // carries the session ticket
			}
			out <- result{err: err, state: conn.ConnectionState()}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String(), out
}

type result struct {
	err   error
	state tls.ConnectionState
}

func next(t *testing.T, results <-chan result) result {
	t.Helper()
	select {
	case r := <-results:
		return r
	case <-time.After(10 * time.Second):
		t.Fatal("the handshake did not end")
		return result{}
	}
}

// dial does a whole handshake and reads the server's first byte.
func dial(addr string, config *tls.Config) error {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err
}

func clientConfig(server *pkitest.CA, cert *pkitest.Cert) *tls.Config {
	c := &tls.Config{RootCAs: server.Pool(), ServerName: "127.0.0.1"}
	if cert != nil {
		// Not Certificates: those are sent only if their issuer was asked for.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert.TLS, nil }
	}
	return c
}

func TestHandshakeReason(t *testing.T) {
	server, ca, other := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients"), pkitest.NewCA(t, "other")
	now := time.Now()
	inter := ca.Intermediate(t, "intermediate", nil)
	flat := ca.Intermediate(t, "no CAs below", func(c *x509.Certificate) { c.MaxPathLenZero = true })
	named := ca.Intermediate(t, "only example.org", func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical = true
		c.PermittedDNSDomains = []string{"example.org"}
	})
	old := ca.Intermediate(t, "expired", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	early := ca.Intermediate(t, "not yet", func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) })
	deep := ca
	for range MaxChain {
		deep = deep.Intermediate(t, "deeper", nil)
	}
	asLeaf := ca.Issue(t, pkitest.Leaf{IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature})
	good := pkitest.Leaf{DNS: []string{"a.example.org"}}
	with := func(edit func(*pkitest.Leaf)) pkitest.Leaf { l := good; edit(&l); return l }
	usage := func(u ...x509.ExtKeyUsage) pkitest.Leaf {
		return with(func(l *pkitest.Leaf) { l.ExtKeyUsage = u; l.NoExtKeyUsage = len(u) == 0 })
	}
	names := make([]string, MaxSANs+1)
	for i := range names {
		names[i] = "a.example.org"
	}
	padded := ca.Issue(t, good)
	for range MaxChain {
		padded.TLS.Certificate = append(padded.TLS.Certificate, other.Cert.Raw)
	}
	garbage := ca.Issue(t, good)
	garbage.TLS.Certificate = [][]byte{[]byte("not a certificate")}

	tests := []struct {
		name string
		cert *pkitest.Cert
		want Reason
	}{
		{"good", ca.Issue(t, good), ""},
		{"good below an intermediate", inter.Issue(t, good), ""},
		{"good inside name constraints", named.Issue(t, good), ""},
		{"good without a name", ca.Issue(t, pkitest.Leaf{}), ""}, // names are judged per request
		{"no certificate", nil, NoCertificate},
		{"self-signed", ca.Issue(t, with(func(l *pkitest.Leaf) { l.SelfSigned = true })), Untrusted},
		{"other CA", other.Issue(t, good), Untrusted},
		{"other CA of the same name", pkitest.NewCA(t, "clients").Issue(t, good), Untrusted},
		{"the server's CA", server.Issue(t, good), Untrusted},
		{"expired", ca.Issue(t, with(func(l *pkitest.Leaf) { l.NotBefore, l.NotAfter = now.Add(-time.Hour), now.Add(-time.Minute) })), Expired},
		{"not yet valid", ca.Issue(t, with(func(l *pkitest.Leaf) { l.NotBefore, l.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour) })), NotYetValid},
		{"intermediate expired", old.Issue(t, good), Expired},
		{"intermediate not yet valid", early.Issue(t, good), NotYetValid},
		{"serverAuth only", ca.Issue(t, usage(x509.ExtKeyUsageServerAuth)), WrongUsage},
		{"no extended key usage", ca.Issue(t, usage()), WrongUsage},
		{"any extended key usage", ca.Issue(t, usage(x509.ExtKeyUsageAny)), WrongUsage},
		{"CA certificate as leaf", asLeaf, WrongUsage},
		{"CA certificate without certSign as leaf", ca.Issue(t, with(func(l *pkitest.Leaf) { l.IsCA = true })), WrongUsage},
		{"leaf may sign CRLs", ca.Issue(t, with(func(l *pkitest.Leaf) { l.KeyUsage = x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature })), WrongUsage},
		{"key not matching", ca.Issue(t, with(func(l *pkitest.Leaf) { l.OtherKey = true })), BadCertificate},
		{"too many names", ca.Issue(t, pkitest.Leaf{DNS: names}), BadCertificate},
		{"unreadable", garbage, BadCertificate},
		{"URI Go does not parse", unparsable(t, ca), BadCertificate},
		{"chain too deep", deep.Issue(t, good), BadCertificate},
		{"chain padded", padded, BadCertificate},
		{"path length exceeded", flat.Intermediate(t, "below", nil).Issue(t, good), Untrusted},
		{"name constraints violated", named.Issue(t, pkitest.Leaf{DNS: []string{"a.example.com"}}), Untrusted},
	}
	s := snapshotOf(t, server, ca)
	for _, kind := range []string{"new", "known by now"} {
		addr, results := handshakes(t, func() *tls.Config { return s.ServerConfig(TLSOptions{}) }, 10*time.Second)
		for _, tt := range tests {
			t.Run(kind+"/"+tt.name, func(t *testing.T) {
				clientErr := dial(addr, clientConfig(server, tt.cert))
				r := next(t, results)
				if got := HandshakeReason(r.err, now); got != tt.want {
					t.Errorf("got %q from %v (client: %v), want %q", got, r.err, clientErr, tt.want)
				}
				if (clientErr == nil) != (tt.want == "") {
					t.Errorf("client: %v", clientErr)
				}
			})
		}
	}
}

// unparsable has a leaf that crypto/x509 does not read, so pkitest cannot: the
// signature no longer fits, but parsing comes first.
func unparsable(t *testing.T, ca *pkitest.CA) *pkitest.Cert {
	t.Helper()
	c := ca.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/aaaa"}})
	der := append([]byte(nil), c.Leaf.Raw...)
	for i := range der {
		if string(der[i:min(i+4, len(der))]) == "aaaa" {
			copy(der[i:], "a\x00aa")
		}
	}
	if _, err := x509.ParseCertificate(der); err == nil {
		t.Fatal("crypto/x509 reads a URI with NUL now; choose another")
	}
	c.TLS.Certificate = [][]byte{der}
	return c
}

func TestHandshakeReasonWithoutCertificates(t *testing.T) {
	server, ca := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients")
	cert := ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}})
	tests := []struct {
		name    string
		timeout time.Duration
		client  func(t *testing.T, addr string, results <-chan result) result
		want    Reason
	}{
		{"plain HTTP", 10 * time.Second, raw(func(c net.Conn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") }), Protocol},
		{"TLS 1.2 only", 10 * time.Second, overTLS(clientConfig(server, cert), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), Protocol},
		{"no protocol in common", 10 * time.Second, overTLS(clientConfig(server, cert), func(c *tls.Config) { c.NextProtos = []string{"gopher"} }), Protocol},
		{"client refuses our certificate", 10 * time.Second, overTLS(clientConfig(ca, cert), func(*tls.Config) {}), Aborted},
		{"client hangs up at once", 10 * time.Second, raw(func(c net.Conn) { _ = c.Close() }), Aborted},
		{"client resets", 10 * time.Second, raw(func(c net.Conn) {
			_, _ = c.Write([]byte{22, 3, 1, 2, 0})
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}), Aborted},
		{"client hangs up in a record", 10 * time.Second, raw(func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 1, 2, 0, 1}); _ = c.Close() }), Aborted},
		{"client stalls", 50 * time.Millisecond, raw(func(net.Conn) {}), Timeout},
		{"client stalls in a record", 50 * time.Millisecond, raw(func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 1}) }), Timeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := snapshotOf(t, server, ca)
			addr, results := handshakes(t, func() *tls.Config { return s.ServerConfig(TLSOptions{}) }, tt.timeout)
			r := tt.client(t, addr, results)
			if got := HandshakeReason(r.err, time.Now()); got != tt.want {
				t.Errorf("got %q from %v, want %q", got, r.err, tt.want)
			}
		})
	}
}

func raw(do func(net.Conn)) func(*testing.T, string, <-chan result) result {
	return func(t *testing.T, addr string, results <-chan result) result {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		do(conn)
		return next(t, results)
	}
}

func overTLS(config *tls.Config, edit func(*tls.Config)) func(*testing.T, string, <-chan result) result {
	return func(t *testing.T, addr string, results <-chan result) result {
		t.Helper()
		edit(config)
		if err := dial(addr, config); err == nil {
			t.Fatal("the client was let in")
		}
		return next(t, results)
	}
}

// TestHandshakeReasonOfErrors: errors that do not come from a handshake alone.
func TestHandshakeReasonOfErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want Reason
	}{
		{"none", nil, ""},
		{"canceled at shutdown", context.Canceled, Aborted},
		{"listener closed", net.ErrClosed, Aborted},
		{"refused by a hook", errors.Join(errors.New("tls"), refuse(Revoked, "by CRL")), Revoked},
		{"unknown", errors.New("something new"), Protocol},
	}
	for _, tt := range tests {
		if got := HandshakeReason(tt.err, time.Now()); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
