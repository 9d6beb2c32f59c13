package ocsp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// An authority is a CA whose key the test has, as pkitest's does not let out.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t testing.TB, name string, by *authority) *authority {
	t.Helper()
	return certify(t, by, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	})
}

// leaf is a client certificate that names the responders.
func (ca *authority) leaf(t testing.TB, responders ...string) *authority {
	t.Helper()
	return certify(t, ca, &x509.Certificate{
		Subject: pkix.Name{CommonName: "client"}, OCSPServer: responders,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// delegate is a responder's certificate.
func (ca *authority) delegate(t testing.TB, edit func(*x509.Certificate)) *authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "responder"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
	}
	if edit != nil {
		edit(template)
	}
	return certify(t, ca, template)
}

// renamed is a CA of another name and the same key.
func (ca *authority) renamed(t testing.TB, name string) *authority {
	t.Helper()
	return certifyKey(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true}, ca.key)
}

func certify(t testing.TB, by *authority, template *x509.Certificate) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certifyKey(t, by, template, key)
}

func certifyKey(t testing.TB, by *authority, template *x509.Certificate, key *ecdsa.PrivateKey) *authority {
	t.Helper()
	if template.SerialNumber == nil {
		template.SerialNumber, _ = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	}
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(365*24*time.Hour)
	}
	self := &authority{key: key}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if self.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return self
}

func chain(certs ...*authority) (chain []*x509.Certificate) {
	for _, c := range certs {
		chain = append(chain, c.cert)
	}
	return chain
}

// A responder answers for a CA as the test says.
type responder struct {
	ca *authority

	mu    sync.Mutex
	by    *authority                               // who signs; the CA where nil
	edit  func(*ocsp.Response)                     // of each answer
	whole func(w http.ResponseWriter) (ended bool) // in place of an answer
	asked atomic.Int64
}

// set changes what r answers from now on.
func (r *responder) set(change func(*responder)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

func (r *responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asked.Add(1)
	body, err := io.ReadAll(req.Body)
	if err != nil || req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/ocsp-request" {
		http.Error(w, "not an OCSP request", http.StatusBadRequest)
		return
	}
	question, err := ocsp.ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	whole, edit, by := r.whole, r.edit, r.by
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/ocsp-response")
	if whole != nil && whole(w) {
		return
	}
	answer := ocsp.Response{
		Status: ocsp.Good, SerialNumber: question.SerialNumber, IssuerHash: question.HashAlgorithm,
		ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
	}
	if edit != nil {
		edit(&answer)
	}
	der, err := r.sign(answer, by)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Write(der)
}

func (r *responder) sign(answer ocsp.Response, by *authority) ([]byte, error) {
	signer := r.ca
	if by != nil {
		signer = by
		answer.Certificate = by.cert
	}
	return ocsp.CreateResponse(r.ca.cert, signer.cert, answer, crypto.Signer(signer.key))
}

// RoundTrip makes r a transport, for bubbles, where the network is not allowed.
func (r *responder) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() { defer close(done); r.ServeHTTP(w, req) }()
	select {
	case <-done:
		return w.Result(), nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// listen serves r on loopback.
func (r *responder) listen(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return server.URL
}

// start makes a cache and runs it until the test ends.
func start(t testing.TB, opts Options) *Cache {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

// await is Entry.Await with a bound that is only reached by a test that failed,
// or that wants no answer.
func await(t testing.TB, e *Entry) (Status, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return e.Await(ctx)
}

// outcomes collects what OnAnswer hears.
type outcomes chan Outcome

func (o outcomes) hear(outcome Outcome, _ error) {
	select {
	case o <- outcome:
	default:
	}
}

func (o outcomes) next(t testing.TB) Outcome {
	t.Helper()
	select {
	case outcome := <-o:
		return outcome
	case <-time.After(10 * time.Second):
		t.Fatal("no look within 10 s")
		return ""
	}
}
