package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// stolen returns the public part of a certificate with another key.
func stolen(t *testing.T, cert *pkitest.Cert) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: cert.TLS.Certificate, PrivateKey: key}
}

// from does one handshake from an address of its own, and reads what the server sends.
func from(t *testing.T, g *servertest.Gate, host int, cert tls.Certificate, version uint16) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 3, byte(host>>8), byte(host))}}
	raw, err := d.DialContext(t.Context(), "tcp", g.Addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer raw.Close()
	conf := &tls.Config{RootCAs: g.CA.Pool(), ServerName: "127.0.0.1", MaxVersion: version,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }}
	_, _ = io.Copy(io.Discard, tls.Client(raw, conf)) // it is refused
}

// A held responder answers good of all certificates but those of one serial number:
// about them it says nothing until it is released.
type heldResponder struct {
	ca    atomic.Pointer[pkitest.CA]
	held  func(serial string) bool
	asked atomic.Int32 // about those
	done  chan struct{}
}

func (r *heldResponder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	asked, err := ocsp.ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.held(asked.SerialNumber.String()) {
		r.asked.Add(1)
		select {
		case <-r.done:
		case <-req.Context().Done():
		}
		return
	}
	ca := r.ca.Load()
	der, err := ocsp.CreateResponse(ca.Cert, ca.Cert, ocsp.Response{Status: ocsp.Good, SerialNumber: asked.SerialNumber,
		ThisUpdate: time.Now().Add(-time.Second), NextUpdate: time.Now().Add(time.Hour)}, ca.Key())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	_, _ = w.Write(der)
}

// holding starts a gate under ocsp: hard, whose responder says nothing of the
// certificates that are held.
func holding(t *testing.T, limits string, held func(serial string) bool) (*servertest.Gate, *heldResponder) {
	t.Helper()
	r := &heldResponder{held: held, done: make(chan struct{})}
	at := httptest.NewServer(r)
	t.Cleanup(at.Close)
	t.Cleanup(func() { close(r.done) })
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		yaml = strings.Replace(yaml, "clientCA:", "minVersion: \"1.2\", revocation: {ocsp: hard, ocspResponder: \""+at.URL+"\"}, clientCA:", 1)
		return yaml + limits
	}})
	r.ca.Store(g.CA)
	return g, r
}

// 200 strangers send a client's certificate without its key, while nothing is known of
// its revocation. Nobody is asked about it, none of them waits, and a client gets in.
//
// Holds: stranger/unproved-key
func TestUnprovedKeyAsksNobody(t *testing.T) {
	var copied atomic.Pointer[string]
	copied.Store(new(string))
	g, responder := holding(t, "limits: {handshakeTimeout: 1m, maxHandshakes: 4}\n", func(serial string) bool { return serial == *copied.Load() })
	victim := g.Cert("acme")
	copied.Store(new(victim.Leaf.SerialNumber.String()))
	copy := stolen(t, victim)
	before := g.By(handshakes, "result")
	const strangers = 200
	var sent sync.WaitGroup
	gate := make(chan struct{}, 32) // at once
	for i := range strangers {
		version := uint16(tls.VersionTLS13 - i%2)
		sent.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			from(t, g, i+1, copy, version)
		})
	}
	client := g.Client(g.Cert("globex"))
	if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("globex")); res.StatusCode != 200 {
		t.Errorf("a client beside them: %s, want 200", res.Status)
	}
	sent.Wait()
	wantChange(t, g, handshakes, "result", before, map[string]float64{"ok": 1, "bad_certificate": strangers})
	if n := responder.asked.Load(); n != 0 {
		t.Errorf("the responder was asked %d times about a certificate whose key nobody proved", n)
	}
}

// Clients whose responder does not answer give way, in the handshake, to a client
// that waits for a slot.
//
// Holds: client/revocation-wait
func TestWaitForRevocationGivesWay(t *testing.T) {
	var mu sync.Mutex
	held := make(map[string]bool)
	g, _ := holding(t, "limits: {handshakeTimeout: 1m, maxHandshakes: 4}\n", func(serial string) bool {
		mu.Lock()
		defer mu.Unlock()
		return held[serial]
	})
	var slow sync.WaitGroup
	defer slow.Wait()
	for i := range 6 { // fewer than responders are asked at once
		cert := g.Cert("acme")
		mu.Lock()
		held[cert.Leaf.SerialNumber.String()] = true
		mu.Unlock()
		slow.Go(func() { from(t, g, 1000+i, cert.TLS, tls.VersionTLS13) })
	}
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_connections_dropped_total", "reason", "handshake_stall") >= 2 }, 30*time.Second) {
		t.Errorf("dropped: %v, want two as handshake_stall", g.By("sangate_connections_dropped_total", "reason"))
	}
	client := g.Client(g.Cert("globex"))
	if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("globex")); res.StatusCode != 200 {
		t.Errorf("a client beside them: %s, want 200", res.Status)
	}
}
