package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// TestIntermediatesOfOneTenant checks that a tenant with a sub-CA, which shows as many intermediates as it likes, does not
// keep the list of another tenant's intermediate from being verified.
//
// Holds: client/intermediates-shared
func TestIntermediatesOfOneTenant(t *testing.T) {
	t.Parallel()
	root := pkitest.NewCA(t, "root")
	acme, globex := root.Intermediate(t, "acme", nil), root.Intermediate(t, "globex", nil)
	issuing := globex.Intermediate(t, "globex issuing", nil)
	list := signedList(t, issuing, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(list) }))
	t.Cleanup(server.Close)
	var mu sync.Mutex
	now := time.Now()
	g := servertest.Start(t, servertest.Options{
		Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		Config: func(yaml string) string {
			return strings.Replace(yaml, "clientCA: [ca.crt]", "revocation: {crl: ['"+server.URL+"/crl'], crlMode: hard}, clientCA: [root.crt]", 1)
		},
		Files: map[string]string{"root.crt": string(root.PEM())},
	})
	reach := func(ca *pkitest.CA, tenant string) error {
		cert := ca.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/" + tenant + "/a"}})
		_, err := try(t, g.Client(cert), http.MethodGet, g.URL+"/health", "")
		return err
	}
	for i := range 80 {
		if err := reach(acme.Intermediate(t, fmt.Sprint("acme ", i), nil), "acme"); err == nil {
			t.Fatal("a client without a list of its issuer was let in")
		}
	}
	mu.Lock()
	now = now.Add(11 * time.Second) // lists are looked at again
	mu.Unlock()
	if err := reach(issuing, "globex"); err != nil {
		t.Errorf("the other tenant: %v", err)
	}
}

// TestIssuerOfListBroughtByClient checks that with crlMode: soft a list whose issuer only a client's chain has is in force
// shortly after that client has come.
//
// Holds: client/revoked-certificate
func TestIssuerOfListBroughtByClient(t *testing.T) {
	t.Parallel()
	root := pkitest.NewCA(t, "root")
	issuing := root.Intermediate(t, "issuing", nil)
	lost := issuing.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/lost"}})
	list := signedList(t, issuing, 1, lost)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(list) }))
	t.Cleanup(server.Close)
	g := servertest.Start(t, servertest.Options{
		Config: func(yaml string) string {
			return strings.Replace(yaml, "clientCA: [ca.crt]", "revocation: {crl: ['"+server.URL+"/crl'], crlMode: soft}, clientCA: [root.crt]", 1)
		},
		Files: map[string]string{"root.crt": string(root.PEM())},
	})
	refused := func() bool {
		_, err := try(t, g.Client(lost), http.MethodGet, g.URL+"/health", "")
		return err != nil
	}
	if refused() {
		t.Fatal("refused before anybody could know the issuer of the list")
	}
	if !servertest.WaitFor(refused, 10*time.Second) {
		t.Error("the revoked client gets in again and again")
	}
}
