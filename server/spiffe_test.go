package server_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/spiffe/spiffetest"
	"github.com/sangate/sangate/server/servertest"
)

// svidClient shows an SVID and takes whatever the gate shows.
func svidClient(t *testing.T, cert tls.Certificate) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// The gate shows what the agent gives and trusts whom it vouches for: its own
// trust domain, and a partner's for that one's SPIFFE IDs and nothing else.
func TestSPIFFE(t *testing.T) {
	t.Parallel()
	agent := spiffetest.Start(t, "example.org")
	agent.Issue("/gate", time.Hour)
	partner := agent.Federate("partner.example")
	stranger := agent.Federate("stranger.example")
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		yaml = strings.Replace(yaml, "{cert: server.crt, key: server.key, clientCA: [ca.crt]}",
			fmt.Sprintf(`{spiffe: {socket: "%s", federated: [partner.example]}}`, agent.Address()), 1)
		return strings.Replace(yaml, "spiffe://example.org/tenant/globex/*", "spiffe://partner.example/agent/*", 1)
	}})
	acme, globex := "Authorization: Bearer "+g.Key("acme"), "Authorization: Bearer "+g.Key("globex")
	gateID := func() (id, serial string) {
		t.Helper()
		conf := &tls.Config{Certificates: []tls.Certificate{agent.ClientSVID("/tenant/acme/a", time.Hour)}, InsecureSkipVerify: true}
		conn, err := tls.Dial("tcp", g.Addr, conf)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// An answer, or the end of the connection, says that the handshake was counted.
		_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: "+g.Addr+"\r\n\r\n")
		_, _ = conn.Read(make([]byte, 1))
		c := conn.ConnectionState().PeerCertificates[0]
		return c.URIs[0].String(), c.SerialNumber.String()
	}
	id, first := gateID()
	if id != "spiffe://example.org/gate" {
		t.Errorf("shows %s", id)
	}
	for _, tt := range []struct {
		name  string
		cert  tls.Certificate
		token string
		want  string // of the handshake
	}{
		{"own", agent.ClientSVID("/tenant/acme/a", time.Hour), acme, "ok"},
		{"partner's", partner.ClientSVID("/agent/7", time.Hour), globex, "ok"},
		{"partner's, in our name", partner.ClientSVID("spiffe://example.org/tenant/acme/a", time.Hour), acme, "untrusted"},
		{"own, in the partner's name", agent.ClientSVID("spiffe://partner.example/agent/7", time.Hour), globex, "untrusted"},
		{"partner's, with a name of ours beside", partner.Root().Issue(t, pkitest.Leaf{
			URIs: []string{"spiffe://partner.example/agent/7"}, DNS: []string{"a.example.org"}}).TLS, globex, "untrusted"},
		{"a domain the agent knows and we do not", stranger.ClientSVID("/agent/7", time.Hour), globex, "untrusted"},
		{"ended", agent.ClientSVID("/tenant/acme/a", -time.Minute), acme, "expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := g.By(handshakes, "result")
			client := svidClient(t, tt.cert)
			// Sent whatever CAs the gate asks for.
			client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.cert, nil }
			res, err := try(t, client, http.MethodGet, g.URL+"/tools", "", tt.token)
			if got := err == nil && res.StatusCode == 200; got != (tt.want == "ok") {
				t.Errorf("got in: %t (%v)", got, err)
			}
			wantChange(t, g, handshakes, "result", before, map[string]float64{tt.want: 1})
		})
	}

	// The agent renews, then rotates its root with overlap, and takes the old
	// one out: who is anchored in that alone is cut.
	agent.Issue("/gate", time.Hour)
	if !servertest.WaitFor(func() bool { _, serial := gateID(); return serial != first }, 5*time.Second) {
		t.Fatal("the renewed certificate is not shown")
	}
	old := svidClient(t, agent.ClientSVID("/tenant/acme/a", time.Hour))
	agent.RotateRoot()
	anew := svidClient(t, agent.ClientSVID("/tenant/acme/a", time.Hour))
	for name, c := range map[string]*http.Client{"old": old, "new": anew} {
		if !servertest.WaitFor(func() bool {
			res, err := try(t, c, http.MethodGet, g.URL+"/tools", "", acme)
			return err == nil && res.StatusCode == 200
		}, 5*time.Second) {
			t.Fatalf("%s root during the overlap", name)
		}
	}
	agent.RetireRoots()
	if !servertest.WaitFor(func() bool {
		res, err := try(t, old, http.MethodGet, g.URL+"/tools", "", acme)
		return err == nil && res.StatusCode == 401
	}, 5*time.Second) {
		t.Error("a client of the retired root goes on")
	}
	if res := ask(t, anew, http.MethodGet, g.URL+"/tools", "", acme); res.StatusCode != 200 {
		t.Errorf("a client of the new root: %s", res.Status)
	}

	// Without its agent the gate goes on with what it has, and that is counted.
	agent.Stop()
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_certificate_renewals_total", "result", "error") > 0 }, 10*time.Second) {
		t.Error("that the agent is gone is not counted")
	}
	if res := ask(t, anew, http.MethodGet, g.URL+"/tools", "", acme); res.StatusCode != 200 {
		t.Errorf("without the agent: %s", res.Status)
	}
}
