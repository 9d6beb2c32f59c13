package server_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/kms"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"

	"go.step.sm/crypto/kms/apiv1"
)

// The key of configured files may be held elsewhere. A renewed certificate of
// the same key is taken up, one of another is not.
func TestKeyByURI(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	uri := "softkms:path=" + filepath.Join(t.TempDir(), "held.key")
	key, err := kms.OpenOrCreate(t.Context(), uri, apiv1.ECDSAWithSHA256, 0)
	if err != nil {
		t.Fatal(err)
	}
	issue := func() *pkitest.Cert {
		c := g.CA.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}, IPs: []string{"127.0.0.1"}, Key: key})
		g.Write("held.crt", c.CertPEM())
		return c
	}
	first := issue()
	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "cert: server.crt, key: server.key", fmt.Sprintf("cert: held.crt, key: %q", uri), 1)
	})
	if !shown(t, g).Equal(first.Leaf) {
		t.Fatal("the certificate of the held key is not shown")
	}
	var second *pkitest.Cert
	g.Change("certificate", func() { second = issue() })
	if !shown(t, g).Equal(second.Leaf) {
		t.Error("a renewed certificate is not shown")
	}
	failed := g.Metric("sangate_certificate_reloads_total", "result", "error")
	g.Write("held.crt", g.CA.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}}).CertPEM())
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_certificate_reloads_total", "result", "error") > failed }, 10*time.Second) {
		t.Error("a certificate of another key is not told")
	}
	if !shown(t, g).Equal(second.Leaf) {
		t.Error("a certificate of another key is shown")
	}
	if res := ask(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+"/health", ""); res.StatusCode != 200 {
		t.Errorf("%s", res.Status)
	}
}
