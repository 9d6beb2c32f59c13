package server_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// A trickle is a connection whose first write goes out whole, and of whose others a
// byte goes out every so often.
type trickle struct {
	net.Conn
	every time.Duration
	begun bool
}

func (c *trickle) Write(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		return c.Conn.Write(p)
	}
	for i := range p {
		time.Sleep(c.every)
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// Clients of many addresses that send their part of the handshake a byte at a time
// give way to a client that waits.
//
// Holds: stranger/trickled-handshake-slots
func TestTrickledHandshakesGiveWay(t *testing.T) {
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return yaml + "limits: {handshakeTimeout: 1m, maxHandshakes: 4}\n"
	}})
	var trickling sync.WaitGroup
	defer trickling.Wait()
	for i := range 8 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 2, 0, byte(i+1))}}
		raw, err := d.DialContext(t.Context(), "tcp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		trickling.Go(func() {
			_ = tls.Client(&trickle{Conn: raw, every: 100 * time.Millisecond}, g.TLS(g.Cert("acme"))).Handshake()
		})
	}
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_connections_dropped_total", "reason", "handshake_stall") >= 4 }, 30*time.Second) {
		t.Fatalf("dropped: %v, want the first four as handshake_stall", g.By("sangate_connections_dropped_total", "reason"))
	}
	client := g.Client(g.Cert("globex"))
	if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("globex")); res.StatusCode != 200 {
		t.Errorf("a client beside them: %s, want 200", res.Status)
	}
	if got := g.Metric("sangate_connections_dropped_total", "reason", "handshake_stall"); got < 5 {
		t.Errorf("%v dropped for stalling, want one more for the client", got)
	}
	if got := g.By("sangate_tls_handshakes_total", "result")["timeout"]; got != 0 {
		t.Errorf("%v handshakes ran into their timeout, want none", got)
	}
}
