package server_test

import (
	"net"
	"net/http"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// flood opens connections that send a few bytes and then nothing, from an address of
// the loopback network, until the test ends.
func flood(t *testing.T, g *servertest.Gate, from net.IP, n int, hello string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	for range n {
		c, err := d.DialContext(t.Context(), "tcp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := c.Write([]byte(hello)); err != nil {
			t.Logf("dropped already: %v", err)
		}
	}
}

// Silent and half-sent connections beyond every limit keep nobody out, not even who
// shares their address, and neither handshake slots nor places are taken by them.
//
// Holds: stranger/silent-flood
func TestSilentFloodKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return yaml + "limits: {helloTimeout: 1m, maxSilentConnections: 40, silentPerAddress: 30, maxHandshakes: 2, maxConnections: 4}\n"
	}})
	flood(t, g, net.IPv4(127, 0, 0, 1), 100, "")
	for i := range 50 {
		flood(t, g, net.IPv4(127, 1, 0, byte(i+1)), 2, "\x16\x03\x01\x02\x00\x01")
	}
	for i := range 5 {
		client := g.Client(g.Cert("acme"))
		if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("acme")); res.StatusCode != 200 {
			t.Fatalf("client %d beside the flood: %s", i, res.Status)
		}
		client.CloseIdleConnections()
	}
	by := g.By("sangate_connections_dropped_total", "reason")
	if by["silent_address"] < 70 || by["silent_full"] == 0 {
		t.Errorf("dropped by reason: %v, want at least 70 silent_address and some silent_full", by)
	}
}

// One tenant's idle connections, and those of certificates without a tenant, leave
// places for another tenant.
//
// Holds: client/idle-connections
func TestIdleTenantLeavesPlaces(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return yaml + "limits: {maxConnections: 20, identityShare: 0.5, unmappedConnections: 2, handshakeTimeout: 2m}\n"
	}})
	nobody := g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/nobody"}})
	for range 30 {
		dialWire(t, g, g.Cert("acme"))
		dialWire(t, g, nobody)
	}
	client := g.Client(g.Cert("globex"))
	if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("globex")); res.StatusCode != 200 {
		t.Errorf("another tenant: %s, want 200", res.Status)
	}
	if open := g.Metric("sangate_connections_open"); open > 10+2+1 {
		t.Errorf("%v connections open, want at most 13", open)
	}
}
