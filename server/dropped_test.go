package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// A root is rotated with overlap without a word; a bundle that drops the CA of
// certificates in use, of clients and of the gate itself, is taken up and told.
func TestDroppedAnchors(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	g := servertest.Start(t, servertest.Options{Log: &log})
	dropped := func(role string) float64 { return g.Metric("sangate_trust_anchors_dropped_total", "role", role) }
	token := "Authorization: Bearer " + g.Key("acme")
	next := pkitest.NewCA(t, "next")
	renewed := next.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/agent"}})
	old1, old2 := g.Client(g.Cert("acme")), g.Client(g.Cert("acme"))
	call := func(c *http.Client, want int) {
		t.Helper()
		if res := ask(t, c, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != want {
			t.Fatalf("%s, want %d", res.Status, want)
		}
	}
	call(old1, 200)
	call(old2, 200)
	g.Change("certificate", func() { g.Write("ca.crt", append(g.CA.PEM(), next.PEM()...)) })
	anew := g.Client(renewed)
	call(old1, 200)
	call(anew, 200)
	g.Change("certificate", func() { g.Write("ca.crt", next.PEM()) })
	if !servertest.WaitFor(func() bool { return dropped("client") == 2 && dropped("server") == 1 }, 5*time.Second) {
		t.Errorf("%v clients and %v of the gate counted, want 2 and 1", dropped("client"), dropped("server"))
	}
	call(old1, 401)
	call(anew, 200)
	// Once told is enough: another change does not count them again.
	g.Change("certificate", func() { g.Write("ca.crt", append(next.PEM(), pkitest.NewCA(t, "third").PEM()...)) })
	call(anew, 200)
	if dropped("client") != 2 || dropped("server") != 1 {
		t.Errorf("counted again: %v clients, %v of the gate", dropped("client"), dropped("server"))
	}
	<-g.Stop()
	for _, says := range []string{`"connections":2`, "the gate's own certificate"} {
		if !strings.Contains(log.String(), says) {
			t.Errorf("the log does not say %s", says)
		}
	}
}
