package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smallstep/certificates/api"

	"github.com/sangate/sangate/pki/stepca/steptest"
)

// A relay stands between the gate and its CA, and passes bytes on: at once,
// late, to another, or not at all.
type relay struct {
	listener net.Listener
	to       atomic.Pointer[string]
	delay    atomic.Int64 // nanoseconds before each connection is passed on
	silent   atomic.Bool  // takes connections and leaves it at that
	closed   chan struct{}
	wg       sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, closed: make(chan struct{})}
	r.send(to)
	r.wg.Go(r.run)
	t.Cleanup(func() {
		close(r.closed)
		_ = l.Close()
		r.wg.Wait()
	})
	return r
}

func (r *relay) url() string { return "https://" + r.listener.Addr().String() }

// send has connections go to the host of that URL from now on.
func (r *relay) send(to string) {
	to = strings.TrimPrefix(to, "https://")
	r.to.Store(&to)
}

func (r *relay) run() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() {
			defer c.Close()
			if r.silent.Load() {
				_, _ = io.Copy(io.Discard, &untilClosed{c, r.closed})
				return
			}
			select {
			case <-time.After(time.Duration(r.delay.Load())):
			case <-r.closed:
				return
			}
			r.pass(c)
		})
	}
}

func (r *relay) pass(c net.Conn) {
	ca, err := net.Dial("tcp", *r.to.Load())
	if err != nil {
		return
	}
	defer ca.Close()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(ca, c); _ = ca.Close() })
	_, _ = io.Copy(c, ca)
	_ = c.Close()
	wg.Wait()
}

// untilClosed reads from a connection, and no longer than the test lasts.
type untilClosed struct {
	net.Conn
	closed <-chan struct{}
}

func (u *untilClosed) Read(p []byte) (int, error) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-u.closed:
			_ = u.Conn.Close()
		case <-stop:
		}
	}()
	return u.Conn.Read(p)
}

// A CA that takes its time costs nothing. One that takes connections and never
// answers holds up the renewal, which shows while it is held up, and the
// certificate in force stays; when the CA answers again, it is renewed.
func TestSlowCA(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{Min: time.Second, Default: 50 * time.Second, NoBackdate: true})
	r := newRelay(t, ca.URL)
	g := newEnrolledGate(t, ca, r.url())
	g.boot()
	g.serves()

	r.delay.Store(int64(3 * time.Second))
	was := g.read()
	g.until("renewed by a slow CA", func() bool {
		g.good()
		now := g.read()
		if alerts := now.firing(was); alerts != "" {
			t.Fatalf("%q fire; %v", alerts, now)
		}
		return now.notAfter > was.notAfter
	})
	t.Logf("slow: %v", g.read())

	r.silent.Store(true)
	was = g.read()
	g.until("it is told", func() bool { g.good(); return g.read().firing(was) != "" })
	if now := g.read(); now.firing(was) != "RenewalOverdue" {
		t.Errorf("first %q fire; %v", now.firing(was), now)
	}
	t.Logf("silent: %v", g.read())
	g.until("the attempt has failed", func() bool { g.good(); return g.read().errors > was.errors })
	if now := g.read(); now.firing(was) != "RenewalFails" || now.notAfter != was.notAfter {
		t.Errorf("then %q fire; %v", now.firing(was), now)
	}
	t.Logf("failed: %v", g.read())
	r.silent.Store(false)
	r.delay.Store(0)
	g.until("renewed", func() bool { g.good(); return g.read().notAfter > was.notAfter })
	t.Logf("answers again: %v", g.read())
}

// A CA that answers with a certificate for another key changes nothing and is
// told of; when it is right again, the gate is renewed.
func TestCertificateOfAnotherKey(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{Min: time.Second, Default: 20 * time.Second, NoBackdate: true})
	r := newRelay(t, ca.URL)
	g := newEnrolledGate(t, ca, r.url())
	g.boot()
	g.serves()
	was := g.read()
	swapped := swappingCA(t, g)
	r.send(swapped.URL)
	g.until("two certificates refused", func() bool { g.good(); return g.read().errors >= 2 })
	now := g.read()
	if now.firing(was) != "RenewalFails" || now.notAfter != was.notAfter || now.next-now.time > 2 || g.otherKey.seen.Load() < 2 {
		t.Errorf("%q fire, the log tells of another key %d times; %v", now.firing(was), g.otherKey.seen.Load(), now)
	}
	t.Logf("another key: %v", now)
	r.send(ca.URL)
	g.until("renewed", func() bool { g.good(); return g.read().notAfter > was.notAfter })
}

// swappingCA is the gate's CA, but for the certificate it answers with: it is
// in order, and somebody else's.
func swappingCA(t *testing.T, g *enrolledGate) *httptest.Server {
	t.Helper()
	own := g.issue("ca-front", "24h", "localhost", "127.0.0.1")
	other := g.issue("other", "1m", "localhost", "127.0.0.1")
	var answer api.SignResponse
	for _, der := range other.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		answer.CertChainPEM = append(answer.CertChainPEM, api.NewCertificate(c))
	}
	behind, err := url.Parse(g.ca.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(g.ca.RootPEM)
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/roots") || strings.HasSuffix(r.URL.Path, "/provisioners") {
			proxy.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(answer)
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequestClientCert}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}
