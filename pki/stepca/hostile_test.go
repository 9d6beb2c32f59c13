package stepca_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smallstep/certificates/api"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/stepca"
)

// fake serves handler by TLS, with a certificate of ca, and returns a client
// that trusts ca.
func fake(t *testing.T, ca *pkitest.CA, handler http.HandlerFunc, opts stepca.Options) *stepca.Client {
	t.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.TLS = &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, pkitest.Leaf{IPs: []string{"127.0.0.1"}}).TLS},
		ClientAuth:   tls.RequestClientCert,
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	opts.Roots = []*x509.Certificate{ca.Cert}
	c, err := stepca.New(srv.URL, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// publicOnly lets pkitest certify a key that only the client has.
type publicOnly struct{ pub crypto.PublicKey }

func (p publicOnly) Public() crypto.PublicKey { return p.pub }
func (p publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no private key")
}

func TestVet(t *testing.T) {
	ca, other := pkitest.NewCA(t, "ours"), pkitest.NewCA(t, "other")
	good := func(pub crypto.PublicKey) pkitest.Leaf {
		return pkitest.Leaf{DNS: []string{"gate.internal"}, URIs: []string{"spiffe://example.org/gate"}, Key: publicOnly{pub}}
	}
	issued := func(issuer *pkitest.CA, edit func(*pkitest.Leaf)) func(crypto.PublicKey) []*x509.Certificate {
		return func(pub crypto.PublicKey) []*x509.Certificate {
			l := good(pub)
			edit(&l)
			return []*x509.Certificate{issuer.Issue(t, l).Leaf}
		}
	}
	tests := []struct {
		name   string
		answer func(crypto.PublicKey) []*x509.Certificate
		want   string // in the error; empty: taken
	}{
		{"good", issued(ca, func(*pkitest.Leaf) {}), ""},
		{"further name", issued(ca, func(l *pkitest.Leaf) { l.DNS = append(l.DNS, "b.internal") }), ""},
		{"another key", issued(ca, func(l *pkitest.Leaf) { l.Key = nil }), "another key"},
		{"a name less", issued(ca, func(l *pkitest.Leaf) { l.URIs = nil }), "lacks the name"},
		{"other name", issued(ca, func(l *pkitest.Leaf) { l.DNS = []string{"evil.internal"} }), "lacks the name"},
		{"other CA", issued(other, func(*pkitest.Leaf) {}), "unknown authority"},
		{"expired", issued(ca, func(l *pkitest.Leaf) { l.NotAfter = time.Now().Add(-time.Second) }), "clock"},
		{"not yet valid", issued(ca, func(l *pkitest.Leaf) { l.NotBefore = time.Now().Add(10 * time.Minute) }), "clock"},
		{"a CA", issued(ca, func(l *pkitest.Leaf) { l.IsCA = true; l.KeyUsage = x509.KeyUsageCertSign }), "is a CA's"},
		{"nothing", func(crypto.PublicKey) []*x509.Certificate { return nil }, "none in the answer"},
		{"endless chain", func(pub crypto.PublicKey) []*x509.Certificate {
			chain := issued(ca, func(*pkitest.Leaf) {})(pub)
			for len(chain) < 11 {
				chain = append(chain, other.Cert)
			}
			return chain
		}, "certificates in the chain"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := fake(t, ca, func(w http.ResponseWriter, r *http.Request) {
				var req api.SignRequest
				if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
					t.Error(err)
					return
				}
				var resp api.SignResponse
				for _, crt := range tt.answer(req.CsrPEM.PublicKey) {
					resp.CertChainPEM = append(resp.CertChainPEM, api.NewCertificate(crt))
				}
				json.NewEncoder(w).Encode(resp)
			}, stepca.Options{})
			_, err := c.Enrol(t.Context(), "a.b.c", stepca.Request{SANs: []string{"gate.internal", "spiffe://example.org/gate"}})
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, stepca.ErrVet) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want ErrVet with %q", err, tt.want)
			}
		})
	}
}

// A renewal must neither change our names, nor be the certificate we have, nor be worse
// than it.
//
// Holds: authority/worse-renewal
func TestVetRenewal(t *testing.T) {
	ca := pkitest.NewCA(t, "ours")
	ends := time.Now().Add(time.Hour)
	own := ca.Issue(t, pkitest.Leaf{DNS: []string{"gate.internal"}, NotAfter: ends})
	old, err := stepca.NewPair([]*x509.Certificate{own.Leaf}, own.TLS.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(edit func(*pkitest.Leaf)) *x509.Certificate {
		l := pkitest.Leaf{DNS: []string{"gate.internal"}, Key: old.Key(), NotAfter: ends.Add(time.Hour)}
		edit(&l)
		return ca.Issue(t, l).Leaf
	}
	tests := []struct {
		name   string
		answer *x509.Certificate
		ok     bool
	}{
		{"good", answer(func(*pkitest.Leaf) {}), true},
		{"for anything", answer(func(l *pkitest.Leaf) { l.NoExtKeyUsage = true }), true},
		{"for clients only", answer(func(l *pkitest.Leaf) { l.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), false},
		{"for servers only", answer(func(l *pkitest.Leaf) { l.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), false},
		{"without signatures", answer(func(l *pkitest.Leaf) { l.KeyUsage = x509.KeyUsageKeyEncipherment }), false},
		{"two seconds long", answer(func(l *pkitest.Leaf) { l.NotAfter = time.Now().Add(2 * time.Second) }), false},
		{"shorter", answer(func(l *pkitest.Leaf) { l.NotAfter = time.Now().Add(10 * time.Minute) }), true},
		{"300 KB", answer(func(l *pkitest.Leaf) { l.CommonName = strings.Repeat("x", 300_000) }), false},
		{"further name", ca.Issue(t, pkitest.Leaf{DNS: []string{"gate.internal", "b.internal"}, Key: old.Key()}).Leaf, false},
		{"another key", ca.Issue(t, pkitest.Leaf{DNS: []string{"gate.internal"}}).Leaf, false},
		{"the old one", old.Leaf(), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := fake(t, ca, func(w http.ResponseWriter, r *http.Request) {
				if len(r.TLS.PeerCertificates) != 1 || !r.TLS.PeerCertificates[0].Equal(old.Leaf()) {
					t.Error("the old certificate was not presented")
				}
				json.NewEncoder(w).Encode(api.SignResponse{ServerPEM: api.NewCertificate(tt.answer)})
			}, stepca.Options{})
			if _, err := c.Renew(t.Context(), old); (err == nil) != tt.ok || err != nil && !errors.Is(err, stepca.ErrVet) {
				t.Errorf("%v, want ok %v", err, tt.ok)
			}
		})
	}
}

// Every call must end by its deadline against an authority that accepts
// connections and says nothing, and against one that answers TLS only.
func TestStalled(t *testing.T) {
	ca := pkitest.NewCA(t, "ours")
	own := ca.Issue(t, pkitest.Leaf{DNS: []string{"gate.internal"}})
	pair, err := stepca.NewPair([]*x509.Certificate{own.Leaf}, own.TLS.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]func(context.Context, *stepca.Client) error{
		"enrol": func(ctx context.Context, c *stepca.Client) error {
			_, err := c.Enrol(ctx, "a.b.c", stepca.Request{Subject: "x"})
			return err
		},
		"renew":  func(ctx context.Context, c *stepca.Client) error { _, err := c.Renew(ctx, pair); return err },
		"rekey":  func(ctx context.Context, c *stepca.Client) error { _, err := c.Rekey(ctx, pair); return err },
		"revoke": func(ctx context.Context, c *stepca.Client) error { return c.Revoke(ctx, pair, stepca.Reason{}) },
		"roots":  func(ctx context.Context, c *stepca.Client) error { _, err := c.Roots(ctx); return err },
	}
	silent := listen(t) // its backlog accepts
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Until the test ends, and not until the client has gone: an empty
			// answer then could still come before its timer on a busy machine.
			ended := make(chan struct{})
			hung := fake(t, ca, func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				<-ended
			}, stepca.Options{Timeout: 200 * time.Millisecond})
			t.Cleanup(func() { close(ended) }) // before the server is closed
			if err := call(t.Context(), hung); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("own timeout: %v", err)
			}
			patient, err := stepca.New("https://"+silent.Addr().String(), stepca.Options{Fingerprint: strings.Repeat("ab", 32)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if err := call(ctx, patient); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("caller's deadline: %v", err)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	ca := pkitest.NewCA(t, "ours")
	var elsewhere atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(target.Close)
	tests := []struct {
		name   string
		answer http.HandlerFunc
		status int
		not    string // must not be in the error
	}{
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.URL, http.StatusTemporaryRedirect)
		}, 307, target.URL},
		{"proxy's page", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>secret", http.StatusBadGateway) }, 502, "secret"},
		{"two lines", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			io.WriteString(w, `{"status":403,"message":"no\nlevel=info forged"}`)
		}, 403, "\n"},
		{"too long", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, `{"message":"`+strings.Repeat("x", 5000)+`"}`)
		}, 500, strings.Repeat("x", 400)},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"crt":"`)
			for chunk := []byte(strings.Repeat("x", 64<<10)); r.Context().Err() == nil; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, 0, "xxx"},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, 0, "a.b.c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := fake(t, ca, tt.answer, stepca.Options{})
			_, err := c.Enrol(t.Context(), "a.b.c", stepca.Request{Subject: "x"})
			if err == nil || status(err) != tt.status || errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%v, want status %d", err, tt.status)
			}
			if strings.Contains(err.Error(), tt.not) {
				t.Errorf("%q is in the error %q", tt.not, err)
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
}
