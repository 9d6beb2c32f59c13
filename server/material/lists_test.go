package material

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/revocation"
)

// A list's server, or whoever is between, cannot have us hold a long head: what is said
// there of a list is kept until the next look.
func TestHeadOfListBounded(t *testing.T) {
	long := revocation.MaxHeaderBytes / 2
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", strings.Repeat("a", long))
	}))
	defer server.Close()
	k := new(Keeper)
	k.cas.Store(new([]*x509.Certificate))
	look := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := listTransport{keeper: k}.RoundTrip(req)
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	if err := look(); err != nil {
		t.Errorf("a head of %d bytes: %v", long, err)
	}
	if long = 2 * revocation.MaxHeaderBytes; look() == nil {
		t.Errorf("a head of %d bytes is taken", long)
	}
}
