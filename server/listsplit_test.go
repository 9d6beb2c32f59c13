package server_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// TestListSplitByPoint checks that with crlMode: hard nobody of a part of a CA's list gets in while that part is missing, or
// another part is served in its place, and that who was once seen on it never does, through restarts and in both modes.
//
// Holds: authority/split-list
func TestListSplitByPoint(t *testing.T) {
	t.Parallel()
	root := pkitest.NewCA(t, "root")
	var mu sync.Mutex
	serving := make(map[string][]byte)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if der := serving[r.URL.Path]; der != nil {
			_, _ = w.Write(der)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(server.Close)
	serve := func(a, b []byte) {
		mu.Lock()
		defer mu.Unlock()
		serving["/a"], serving["/b"] = a, b
	}
	agent := func(name, point string) *pkitest.Cert {
		return root.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/" + name}, CRLPoints: []string{server.URL + point}})
	}
	ofA, ofB, lost := agent("of-a", "/a"), agent("of-b", "/b"), agent("lost", "/b")
	partA := signedPart(t, root, server.URL+"/a", 1)
	partB := signedPart(t, root, server.URL+"/b", 1, lost)
	state := filepath.Join(t.TempDir(), "state")
	check := func(when, mode string, wantOfB, wantLost bool) {
		t.Helper()
		g := servertest.Start(t, servertest.Options{
			Files: map[string]string{"root.crt": string(root.PEM())},
			Config: func(yaml string) string {
				yaml = strings.Replace(yaml, "state: state", "state: "+state, 1)
				return strings.Replace(yaml, "clientCA: [ca.crt]", "revocation: {crl: ['"+server.URL+"/a', '"+server.URL+"/b'], crlMode: "+mode+
					"}, clientCA: [root.crt]", 1)
			}})
		for _, c := range []struct {
			cert *pkitest.Cert
			want bool
		}{{ofA, true}, {ofB, wantOfB}, {lost, wantLost}} {
			_, err := try(t, g.Client(c.cert), http.MethodGet, g.URL+"/health", "")
			if (err == nil) != c.want {
				t.Errorf("%s, %s: %s: %v", when, mode, c.cert.Leaf.URIs[0], err)
			}
		}
		<-g.Stop()
	}
	serve(partA, nil)
	check("B's part is missing", "hard", false, false)
	serve(partA, partA)
	check("A's part served for B's", "hard", false, false)
	serve(partA, partB)
	check("both parts", "hard", true, false)
	serve(partA, partA)
	check("A's part in the place of B's", "hard", true, false)
	check("A's part in the place of B's", "soft", true, false)
	serve(nil, nil)
	check("the CA is away", "hard", true, false)
	check("the CA is away", "soft", true, false)
}
