package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/store"
)

// A caller calls whoami until told to end, over connections it keeps or over a
// new one each time, with the certificate of the moment.
type caller struct {
	name string
	cert func() (*pkitest.Cert, func()) // and what to do when it was used
	kept *http.Client                   // nil: a new one each time

	dials, calls atomic.Int64
}

// client counts its dials: net/http quietly tries again on another connection
// where one it kept was closed.
func (c *caller) client(g *servertest.Gate, cert *pkitest.Cert) *http.Client {
	return g.Client(cert, func(tr *http.Transport) {
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c.dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
}

func (c *caller) call(ctx context.Context, g *servertest.Gate) error {
	client := c.kept
	if client == nil {
		cert, used := c.cert()
		defer used()
		tr := &http.Transport{TLSClientConfig: g.TLS(cert), ForceAttemptHTTP2: c.calls.Load()%2 == 0}
		defer tr.CloseIdleConnections()
		client = &http.Client{Transport: tr, Timeout: 30 * time.Second}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+"/tool/whoami/call", strings.NewReader("{}"))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+g.Key("acme"))
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || !strings.Contains(string(body), `"tenant":"acme"`)) {
		err = fmt.Errorf("%s %s", res.Status, body)
	}
	c.calls.Add(1)
	return err
}

// A oneConnection asks on the one it has. net/http's own leaves a good one where
// its writer did not get to run within 50 ms, as on a busy machine.
type oneConnection struct{ *wire }

// dialOne makes a connection that is closed when the test ends.
func dialOne(t *testing.T, g *servertest.Gate, config *tls.Config) oneConnection {
	t.Helper()
	conn, err := tls.Dial("tcp", g.Addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return oneConnection{&wire{conn, bufio.NewReader(conn)}}
}

func (c oneConnection) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	if err := req.Write(c); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.in, req)
}

// rotations of each of leaf, CA bundle and configuration.
var rotations = rounds(200)

// Eight clients call while everything is rotated under them: no request fails,
// no kept connection is lost.
func TestReloadUnderLoad(t *testing.T) {
	g := servertest.Start(t, servertest.Options{})
	var using sync.RWMutex // the certificate of the moment; a call holds it for reading
	current := g.Cert("acme")
	moment := func() (*pkitest.Cert, func()) {
		using.RLock()
		return current, using.RUnlock
	}
	var callers []*caller
	for i := range 8 {
		c := &caller{name: fmt.Sprint("new connections ", i), cert: moment}
		switch i {
		case 0, 1:
			c.name, c.kept = fmt.Sprint("HTTP/1.1 ", i), &http.Client{Transport: dialOne(t, g, g.TLS(g.Cert("acme")))}
			c.dials.Store(1)
		case 2, 3, 4:
			c.name, c.kept = fmt.Sprint("HTTP/2 ", i), c.client(g, g.Cert("acme"))
		}
		callers = append(callers, c)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	failed := make(chan error, len(callers))
	for _, c := range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := c.call(context.WithoutCancel(ctx), g); err != nil {
					failed <- fmt.Errorf("%s, after %d calls: %w", c.name, c.calls.Load(), err)
					return
				}
			}
		})
	}
	defer wg.Wait()
	defer stop()

	overlap := g.CA
	for i := range rotations {
		next := pkitest.NewCA(t, fmt.Sprint("CA ", i))
		rotate(t, g, i, slices.Concat(g.CA.PEM(), overlap.PEM(), next.PEM()))
		leaf := next.Issue(t, pkitest.Leaf{URIs: []string{acmeURI}})
		using.Lock() // the old one is used no more: its CA leaves the bundle next
		current, overlap = leaf, next
		using.Unlock()
		select {
		case err := <-failed:
			t.Fatalf("rotation %d: %v", i, err)
		default:
		}
	}
	stop()
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	for _, c := range callers {
		if c.calls.Load() < int64(rotations/4) {
			t.Errorf("%s: only %d calls; the load was none", c.name, c.calls.Load())
		}
		if c.kept != nil && c.dials.Load() != 1 {
			t.Errorf("%s: %d connections, want the one", c.name, c.dials.Load())
		}
	}
	for _, kind := range []string{"config", "certificate"} {
		if n := g.Metric("sangate_"+kind+"_reloads_total", "result", "ok"); n < float64(rotations) {
			t.Errorf("%v %s reloads, want %d at least", n, kind, rotations)
		}
	}
}

// rotate changes the bundle, the leaf and the configuration, and waits until
// each is in force.
func rotate(t *testing.T, g *servertest.Gate, i int, bundle []byte) {
	t.Helper()
	g.Change("certificate", func() { g.Write("ca.crt", bundle) })
	leaf := g.CA.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}, IPs: []string{"127.0.0.1"}})
	g.Change("certificate", func() {
		g.Write("server.crt", leaf.CertPEM()) // for a moment with the old key
		g.Write("server.key", leaf.KeyPEM(t))
	})
	if got := servedBy(t, g); got != leaf.Leaf.SerialNumber.String() {
		t.Fatalf("rotation %d: served by %s, want %s", i, got, leaf.Leaf.SerialNumber)
	}
	g.Configure(func(yaml string) string {
		yaml, _, _ = strings.Cut(yaml, "  - {id: extra")
		return yaml + fmt.Sprintf("  - {id: extra%d, sans: [\"dns:extra%[1]d.example\"]}\n", i)
	})
}

// servedBy returns the serial number of the certificate a new connection gets.
func servedBy(t *testing.T, g *servertest.Gate) string {
	t.Helper()
	w := dialWire(t, g, g.Cert("globex"))
	return w.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// addKey mints a key for a tenant into the gate's state store, as `sangate
// token mint` does, and waits until it is in force.
func addKey(t *testing.T, g *servertest.Gate, client *http.Client, tenant string) (key, id string) {
	t.Helper()
	s := openStore(t, g)
	key, id, err := apikey.Mint()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddKey(t.Context(), apikey.Entry{ID: id, Tenant: tenant, Digest: apikey.Digest(key)}, "test"); err != nil {
		t.Fatal(err)
	}
	if !servertest.WaitFor(func() bool {
		return ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+key).StatusCode == 200
	}, second) {
		t.Fatalf("a key for %s is not in force", tenant)
	}
	return key, id
}

func openStore(t *testing.T, g *servertest.Gate) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(g.Dir, "state"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A key that is added to or revoked in the store by another process counts
// within a second, for what is running, too.
func TestKeysInTheStore(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	client := g.Client(g.Cert("acme"))
	key, id := addKey(t, g, client, "acme")
	before := g.By(decisions, "reason")
	if err := openStore(t, g).RevokeKey(context.Background(), id, time.Now()); err != nil {
		t.Fatal(err)
	}
	var res *http.Response
	if !servertest.WaitFor(func() bool {
		res = ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+key)
		return res.StatusCode != 200
	}, second) {
		t.Fatal("a revoked key is still good")
	}
	if body := wantError(t, res, 401, "unauthorized"); string(body["message"]) != `"Invalid token."` {
		t.Errorf("message %s", body["message"])
	}
	// Once more where the request before was in progress still when the key ended.
	if n := g.By(decisions, "reason")["token_revoked"] - before["token_revoked"]; n != 1 && n != 2 {
		t.Errorf("token_revoked went up by %v, want 1", n)
	}
	if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("acme")); res.StatusCode != 200 {
		t.Errorf("the other key: %s", res.Status)
	}
}
