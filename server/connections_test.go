package server_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// reused asks and reports whether that took no new connection.
func reused(t *testing.T, c *http.Client, url, token string) bool {
	t.Helper()
	var same atomic.Bool
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { same.Store(info.Reused) }}), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res.Status, err)
	}
	return same.Load()
}

// A connection that is old enough gets one more answer and no other; a call that
// is still running when its grace is over is cut.
func TestConnectionAge(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]servertest.ClientOption{"HTTP/1.1": {servertest.HTTP1}, "HTTP/2": nil} {
		t.Run(name, func(t *testing.T) {
			var ahead atomic.Int64
			wait, began, release := waiting(t)
			defer close(release)
			g := servertest.Start(t, servertest.Options{
				Config: func(yaml string) string { return yaml + "limits: {maxConnectionAge: 10s, connectionGrace: 30s}\n" },
				Tools:  []*tool.Tool{wait},
				Now:    func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
			client, url, token := g.Client(g.Cert("acme"), opts...), g.URL+"/tools", g.Key("acme")
			if reused(t, client, url, token) || !reused(t, client, url, token) {
				t.Fatal("a young connection is used again, and no other")
			}
			running := start(t, client, g.URL+"/tool/wait/call", "{}", "Authorization: Bearer "+token)
			<-began

			ahead.Add(int64(11 * time.Second))
			old := g.Client(g.Cert("acme"), opts...)
			if reused(t, old, url, token) || !reused(t, old, url, token) {
				t.Fatal("a connection made now is young")
			}
			ahead.Add(int64(11 * time.Second))
			if !reused(t, old, url, token) {
				t.Error("the last answer comes on the old connection")
			}
			if !servertest.WaitFor(func() bool { return !reused(t, old, url, token) }, 5*time.Second) {
				t.Error("the old connection goes on")
			}
			select {
			case o := <-running:
				t.Fatalf("the call that may run in the grace: %+v", o)
			default:
			}
			ahead.Add(int64(time.Minute))
			select {
			case o := <-running:
				if o.err == nil {
					t.Errorf("the call that ran past the grace: %s", o.res.Status)
				}
			case <-time.After(10 * time.Second):
				t.Error("the call goes on past the grace")
			}
		})
	}
}

// A connection whose certificate ended is closed even if nothing is asked on it.
func TestIdleConnectionEnds(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	g := servertest.Start(t, servertest.Options{
		Config: func(yaml string) string { return yaml + "limits: {handshakeTimeout: 1m}\n" },
		Now:    func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	cert := g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/short"}, NotAfter: time.Now().Add(20 * time.Minute)})
	w := dialWire(t, g, cert)
	other := dialWire(t, g, g.Cert("acme"))
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_connections_open") == 2 }, 10*time.Second) {
		t.Fatal("two connections are open")
	}
	ahead.Add(int64(21 * time.Minute))
	// It is seen to have ended at one sweep, and closed at one that comes when its
	// client had time to be told.
	closed := false
	for range 10 {
		ahead.Add(int64(11 * time.Second))
		if closed = servertest.WaitFor(func() bool { return g.Metric("sangate_connections_open") == 1 }, 2*time.Second); closed {
			break
		}
	}
	if !closed {
		t.Fatal("it stays open")
	}
	if _, err := w.Read(make([]byte, 1)); err == nil {
		t.Error("something was sent on it")
	}
	other.send(request("GET /health"))
	if res := other.answer(t); res.StatusCode != http.StatusOK {
		t.Errorf("another's connection: %s", res.Status)
	}
}

// Where the configuration names key exchanges, no other is taken; what is used
// is counted.
func TestKeyExchanges(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	try := func(g *servertest.Gate, curves ...tls.CurveID) error {
		config := g.TLS(g.Cert("acme"))
		config.CurvePreferences = curves
		conn, err := tls.Dial("tcp", g.Addr, config)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	const metric = "sangate_tls_key_exchanges_total"
	if err := try(g); err != nil || !servertest.WaitFor(func() bool { return g.Metric(metric, "group", "X25519MLKEM768") == 1 }, 5*time.Second) {
		t.Errorf("by default the post-quantum one is used: %v", err)
	}
	if err := try(g, tls.X25519); err != nil {
		t.Errorf("by default a client without it gets in: %v", err)
	}
	strict := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return replaceOnce(t, yaml, "clientCA: [ca.crt]", "clientCA: [ca.crt], curves: [X25519MLKEM768]")
	}})
	if err := try(strict, tls.X25519); err == nil {
		t.Error("a client without the required key exchange got in")
	}
	if err := try(strict); err != nil {
		t.Error(err)
	}
}

func replaceOnce(t *testing.T, s, old, new string) string {
	t.Helper()
	if strings.Count(s, old) != 1 {
		t.Fatalf("%q does not stand there once", old)
	}
	return strings.Replace(s, old, new, 1)
}

// Whoever looks at the open connections while others come sees whole ones; the race
// detector says so.
func TestConnectionsAreShownWhole(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	cert := g.Cert("acme")
	looks, stop := make(chan error, 1), make(chan struct{})
	go func() {
		for {
			res, err := http.Get(g.AdminURL + "/connections")
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				err = errors.Join(err, res.Body.Close())
			}
			select {
			case <-stop:
				looks <- err
				return
			default:
			}
		}
	}()
	for range 40 {
		c := g.Client(cert, servertest.HTTP1)
		reused(t, c, g.URL+"/tools", g.Key("acme"))
		c.CloseIdleConnections()
	}
	close(stop)
	if err := <-looks; err != nil {
		t.Error(err)
	}
}
