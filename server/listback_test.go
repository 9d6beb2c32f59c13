package server_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// TestKeptListPutBack checks that an older list that was put in the place of the kept one is noticed at the next start: with
// crlMode: hard, who was revoked since does not get in by it.
//
// Holds: client/revoked-stays-revoked
func TestKeptListPutBack(t *testing.T) {
	t.Parallel()
	root := pkitest.NewCA(t, "root")
	agent := func(name string) *pkitest.Cert {
		return root.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/" + name}})
	}
	first, lost := agent("first"), agent("lost")
	var answer atomic.Pointer[[]byte] // nil: the CA is away
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if der := answer.Load(); der != nil {
			_, _ = w.Write(*der)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(server.Close)
	state := filepath.Join(t.TempDir(), "state")
	gate := func(check func(g *servertest.Gate)) {
		g := servertest.Start(t, servertest.Options{
			Files: map[string]string{"root.crt": string(root.PEM())},
			Config: func(yaml string) string {
				yaml = strings.Replace(yaml, "state: state", "state: "+state, 1)
				return strings.Replace(yaml, "clientCA: [ca.crt]", "revocation: {crl: ['"+server.URL+"/crl'], crlMode: hard}, clientCA: [root.crt]", 1)
			}})
		check(g)
		<-g.Stop()
	}
	result := func(g *servertest.Gate, cert *pkitest.Cert) (found string) {
		before := g.By(handshakes, "result")
		_, _ = try(t, g.Client(cert), http.MethodGet, g.URL+"/health", "")
		servertest.WaitFor(func() bool {
			for result, n := range g.By(handshakes, "result") {
				if n > before[result] {
					found = result
				}
			}
			return found != ""
		}, second)
		return found
	}
	kept := func() string {
		files, err := filepath.Glob(filepath.Join(state, "crl", "list-*.crl"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		return files[0]
	}
	answer.Store(new(signedList(t, root, 1, first)))
	gate(func(*servertest.Gate) {})
	old, err := os.ReadFile(kept())
	if err != nil {
		t.Fatal(err)
	}
	newer := signedList(t, root, 2, first, lost)
	answer.Store(&newer)
	gate(func(g *servertest.Gate) {
		if got := result(g, lost); got != "revoked" {
			t.Errorf("revoked: %s", got)
		}
	})
	if err := os.WriteFile(kept(), old, 0o600); err != nil {
		t.Fatal(err)
	}
	for when, serving := range map[string]*[]byte{"CA away": nil, "replayed": &old} {
		answer.Store(serving)
		gate(func(g *servertest.Gate) {
			if got := result(g, lost); got != "revocation_unknown" {
				t.Errorf("%s: the one revoked since: %s", when, got)
			}
			if got := result(g, first); got != "revoked" {
				t.Errorf("%s: the one on the old list: %s", when, got)
			}
			if n := g.Metric("sangate_crl_updates_total", "name", server.URL+"/crl", "result", "refused"); n == 0 {
				t.Errorf("%s: not counted", when)
			}
		})
	}
	answer.Store(&newer)
	gate(func(g *servertest.Gate) {
		if got := result(g, lost); got != "revoked" {
			t.Errorf("the newer list again: %s", got)
		}
	})
}
