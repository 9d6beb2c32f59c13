package server_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// signedList returns a revocation list of the CA, of now.
func signedList(t *testing.T, ca *pkitest.CA, number int64, revoked ...*pkitest.Cert) []byte {
	t.Helper()
	return signedPart(t, ca, "", number, revoked...)
}

// signedPart returns the part of a list that is of one distribution point; empty: it is about all.
func signedPart(t *testing.T, ca *pkitest.CA, point string, number int64, revoked ...*pkitest.Cert) []byte {
	t.Helper()
	this := time.Now().Add(-time.Minute)
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: this, NextUpdate: this.Add(time.Hour)}
	for _, c := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.Leaf.SerialNumber, RevocationTime: this})
	}
	if point != "" {
		var b cryptobyte.Builder
		context := func(tag asn1.Tag) asn1.Tag { return tag.ContextSpecific().Constructed() }
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(context(0), func(b *cryptobyte.Builder) {
				b.AddASN1(context(0), func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(point)) })
				})
			})
		})
		template.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 28}, Critical: true, Value: b.BytesOrPanic()}}
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, ca.Cert, ca.Key())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestListKeptWhenIntermediateChanges checks that the list of a CA's earlier intermediate stays in force after the CA has
// a new one and the server restarts while the CA is away: who was revoked is refused, and who was not is served.
//
// Holds: client/revoked-stays-revoked
func TestListKeptWhenIntermediateChanges(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"soft", "hard"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			root := pkitest.NewCA(t, "root")
			before, after := root.Intermediate(t, "issuing 1", nil), root.Intermediate(t, "issuing 2", nil)
			agent := func(ca *pkitest.CA, name string) *pkitest.Cert {
				return ca.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/" + name}})
			}
			lost, fine, renewed := agent(before, "lost"), agent(before, "fine"), agent(after, "renewed")
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
			gate := func(issuing *pkitest.CA) *servertest.Gate {
				own := issuing.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}, IPs: []string{"127.0.0.1"}})
				return servertest.Start(t, servertest.Options{
					Files: map[string]string{"server.crt": string(own.CertPEM()), "server.key": string(own.KeyPEM(t)), "ca.crt": string(root.PEM())},
					Config: func(yaml string) string {
						yaml = strings.Replace(yaml, "state: state", "state: "+state, 1)
						return strings.Replace(yaml, "clientCA:", "revocation: {crl: ['"+server.URL+"/crl'], crlMode: "+mode+"}, clientCA:", 1)
					}})
			}
			status := func(g *servertest.Gate, cert *pkitest.Cert) int {
				t.Helper()
				client := g.Client(cert)
				client.Transport.(*http.Transport).TLSClientConfig.RootCAs = root.Pool()
				res, err := try(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("acme"))
				if err != nil {
					return 0
				}
				return res.StatusCode
			}
			want := func(g *servertest.Gate, when string, cert *pkitest.Cert, want int) {
				t.Helper()
				if got := status(g, cert); got != want {
					t.Errorf("%s: %s got %d, want %d", when, cert.Leaf.URIs[0], got, want)
				}
			}
			answer.Store(new(signedList(t, before, 1, lost)))
			g := gate(before)
			want(g, "first list", lost, 0)
			want(g, "first list", fine, 200)

			answer.Store(new(signedList(t, after, 1)))
			g.Server.Reload()
			<-g.Stop()
			g = gate(after)
			want(g, "new intermediate", lost, 0)
			want(g, "new intermediate", fine, 200)
			want(g, "new intermediate", renewed, 200)
			<-g.Stop()

			answer.Store(nil)
			g = gate(after)
			want(g, "CA away", lost, 0)
			want(g, "CA away", fine, 200)
			want(g, "CA away", renewed, 200)
			if n := g.Metric("sangate_revocations_total", "name", server.URL+"/crl"); n != 1 {
				t.Errorf("%v refusals by the kept list, want 1", n)
			}
		})
	}
}
