package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// A certificate says which address is dialled only if a client CA itself has signed it,
// and then only one that egress allows. Below a tenant's own CA it says nothing.
//
// Holds: tenant/named-responder
func TestNamedResponder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		below, egress bool // issued below a CA of a tenant's; loopback is allowed
		asked         bool
	}{
		{"by a client CA, allowed", false, true, true},
		{"by a client CA, an internal address", false, false, false},
		{"below a tenant's CA, allowed", true, true, false},
		{"below a tenant's CA, an internal address", true, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			r := &responder{}
			at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				asked.Add(1)
				r.ServeHTTP(w, req)
			}))
			t.Cleanup(at.Close)
			g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
				if tt.egress {
					yaml += "egress: {allow: [127.0.0.0/8]}\n"
				}
				return strings.Replace(yaml, "clientCA:", "revocation: {ocsp: hard}, clientCA:", 1)
			}})
			issuer := g.CA
			if tt.below {
				issuer = g.CA.Intermediate(t, "a tenant's", nil)
			}
			r.ca = issuer
			cert := issuer.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/agent"}, OCSP: []string{at.URL}})
			_, err := try(t, g.Client(cert), http.MethodGet, g.URL+"/health", "")
			if (err == nil) != tt.asked || (asked.Load() > 0) != tt.asked {
				t.Errorf("%d requests to the responder, %v; want it asked and the client let in: %v", asked.Load(), err, tt.asked)
			}
		})
	}
}
