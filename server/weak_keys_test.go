package server_test

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// TestWeakKeyRefusedOnOpenConnection: when tls.weakClientKeys no longer admits the key
// of a connected client, its next request is refused with the reason bad_certificate and
// is the last of its connection; others go on.
//
// Holds: client/weak-keys
func TestWeakKeyRefusedOnOpenConnection(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	const setting = ", weakClientKeys: [rsa1024]"
	g := servertest.Start(t, servertest.Options{Log: &log, Config: func(yaml string) string {
		return strings.Replace(yaml, "clientCA: [ca.crt]", "clientCA: [ca.crt]"+setting, 1)
	}})
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := g.Client(g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/old"}, Key: key}), servertest.HTTP1)
	strong := g.Client(g.Cert("acme"), servertest.HTTP1)
	status := func(c *http.Client) *http.Response {
		return ask(t, c, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("acme"))
	}
	for range 2 {
		if res := status(weak); res.StatusCode != 200 {
			t.Fatalf("allowed: %s", res.Status)
		}
	}
	opened := g.Metric(handshakes, "result", "ok")
	g.Configure(func(yaml string) string { return strings.Replace(yaml, setting, "", 1) })
	res := status(weak)
	if res.StatusCode != http.StatusUnauthorized || !res.Close {
		t.Errorf("no longer allowed: %s, closes: %t; want 401 and true", res.Status, res.Close)
	}
	if got := g.Metric(handshakes, "result", "ok"); got != opened {
		t.Errorf("%v handshakes, want the request on the open connection", got-opened)
	}
	if got := g.By(decisions, "reason")["bad_certificate"]; got != 1 {
		t.Errorf("%v decisions bad_certificate, want 1", got)
	}
	if !strings.Contains(log.String(), "an RSA key of 1024 bits") {
		t.Error("the log does not say what is wrong with the key")
	}
	if res := status(strong); res.StatusCode != 200 {
		t.Errorf("a strong key: %s", res.Status)
	}
}
