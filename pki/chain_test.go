package pki

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// Authorities of a trust domain vouch for its SPIFFE IDs, a partner's for
// nothing beside, and those without one for any name; at the handshake and on
// an open connection alike.
func TestTrustDomains(t *testing.T) {
	server := pkitest.NewCA(t, "server")
	own, partner, plain := pkitest.NewCA(t, "own"), pkitest.NewCA(t, "partner"), pkitest.NewCA(t, "plain")
	cert := server.Issue(t, pkitest.Leaf{IPs: []string{"127.0.0.1"}}).TLS
	bundle, err := NewBundle([]*x509.Certificate{plain.Cert},
		Domain{Name: "example.org", Authorities: []*x509.Certificate{own.Cert}},
		Domain{Name: "partner.example", Authorities: []*x509.Certificate{partner.Cert}, Foreign: true},
		Domain{Name: "else.example", Authorities: []*x509.Certificate{plain.Cert}})
	must(t, err)
	s := &Snapshot{Certificate: &cert, Bundle: bundle}
	addr, results := handshakes(t, func() *tls.Config { return s.ServerConfig(TLSOptions{}) }, 10*time.Second)
	for _, tt := range []struct {
		name string
		ca   *pkitest.CA
		leaf pkitest.Leaf
		want Reason
	}{
		{"own", own, pkitest.Leaf{URIs: []string{"spiffe://example.org/a"}}, ""},
		{"own with a DNS name", own, pkitest.Leaf{URIs: []string{"spiffe://example.org/a"}, DNS: []string{"a.example"}}, ""},
		{"own for another", own, pkitest.Leaf{URIs: []string{"spiffe://partner.example/a"}}, Untrusted},
		{"own without a SPIFFE ID", own, pkitest.Leaf{DNS: []string{"a.example"}}, Untrusted},
		{"partner", partner, pkitest.Leaf{URIs: []string{"spiffe://partner.example/a"}}, ""},
		{"partner for us", partner, pkitest.Leaf{URIs: []string{"spiffe://example.org/a"}}, Untrusted},
		{"partner for a longer domain", partner, pkitest.Leaf{URIs: []string{"spiffe://partner.example.org/a"}}, Untrusted},
		{"partner with a DNS name", partner, pkitest.Leaf{URIs: []string{"spiffe://partner.example/a"}, DNS: []string{"a.example"}}, Untrusted},
		{"partner with two IDs", partner, pkitest.Leaf{URIs: []string{"spiffe://partner.example/a", "spiffe://example.org/a"}}, Untrusted},
		{"without domain", plain, pkitest.Leaf{URIs: []string{"spiffe://example.org/a"}}, ""},
		{"without domain, DNS", plain, pkitest.Leaf{DNS: []string{"a.example"}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := tt.ca.Issue(t, tt.leaf)
			_ = dial(addr, clientConfig(server, client)) // the server's result tells
			if got := HandshakeReason(next(t, results).err, time.Now()); got != tt.want {
				t.Errorf("handshake: %q, want %q", got, tt.want)
			}
			want := tt.want
			if want == Untrusted {
				want = CertUntrusted
			}
			if got := NewPeer([]*x509.Certificate{client.Leaf}, nil, nil).Check(s, time.Now()); got != want {
				t.Errorf("open connection: %q, want %q", got, want)
			}
		})
	}
}

// A domain's authority is another thing than the same certificate without one.
func TestDomainsMakeAnotherBundle(t *testing.T) {
	ca := pkitest.NewCA(t, "ca")
	list := []*x509.Certificate{ca.Cert}
	seen := map[[32]byte]string{}
	for name, domains := range map[string][]Domain{
		"own":     {{Name: "a.example", Authorities: list}},
		"other":   {{Name: "b.example", Authorities: list}},
		"foreign": {{Name: "a.example", Authorities: list, Foreign: true}},
	} {
		b, err := NewBundle(nil, domains...)
		must(t, err)
		if other, ok := seen[b.digest]; ok {
			t.Errorf("%s and %s are one bundle", name, other)
		}
		seen[b.digest] = name
	}
	plain, err := NewBundle(list)
	must(t, err)
	if seen[plain.digest] != "" {
		t.Error("with and without domain are one bundle")
	}
}

// revokedUnder denies chains that end in one of the roots.
type revokedUnder []*x509.Certificate

func (r revokedUnder) Prepare(chain []*x509.Certificate, _ []SAN) any { return chain[len(chain)-1] }

func (r revokedUnder) Check(prepared any, _ time.Time) Finding {
	for _, root := range r {
		if root.Equal(prepared.(*x509.Certificate)) {
			return Finding{Reason: Revoked, Source: root.SerialNumber.String()}
		}
	}
	return Finding{}
}

// A client whose leaf has two chains passes while one of them is good.
func TestOneGoodChainIsEnough(t *testing.T) {
	server, ca := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients")
	short := ca.Sibling(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(10 * time.Minute) })
	s := snapshotOf(t, server, ca, short)
	client := ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}})
	now := time.Now()
	later := now.Add(20 * time.Minute)
	for _, tt := range []struct {
		name    string
		revoked revokedUnder
		at      time.Time
		want    Reason
		source  *pkitest.CA
	}{
		{"none", nil, now, "", nil},
		{"one", revokedUnder{ca.Cert}, now, "", nil},
		{"the other", revokedUnder{short.Cert}, now, "", nil},
		{"both", revokedUnder{ca.Cert, short.Cert}, now, Revoked, ca},
		{"one, the other ended", revokedUnder{ca.Cert}, later, Revoked, ca},
		{"the one that ended", revokedUnder{short.Cert}, later, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			under := *s
			under.Revocation = tt.revoked
			got := peerOf(t, s, client, now).Find(&under, tt.at)
			if got.Reason != tt.want || (tt.source != nil && got.Source != tt.source.Cert.SerialNumber.String()) {
				t.Errorf("got %+v, want %q", got, tt.want)
			}
		})
	}
	under := *s
	under.Revocation = revokedUnder{ca.Cert}
	addr, results := handshakes(t, func() *tls.Config { return under.ServerConfig(TLSOptions{}) }, 10*time.Second)
	must(t, dial(addr, clientConfig(server, client)))
	must(t, next(t, results).err)
	under.Revocation = revokedUnder{ca.Cert, short.Cert}
	_ = dial(addr, clientConfig(server, client))
	if got := HandshakeReason(next(t, results).err, now); got != Revoked {
		t.Errorf("handshake: %q", got)
	}
}
