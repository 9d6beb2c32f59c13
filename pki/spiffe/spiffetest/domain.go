package spiffetest

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/sangate/sangate/pki/pkitest"
)

// A Domain is a trust domain with its authorities (EC P-256). Of several the
// last one signs.
type Domain struct {
	Name string

	t     testing.TB
	mu    sync.Mutex
	roots []*pkitest.CA
}

func newDomain(t testing.TB, name string) *Domain {
	t.Helper()
	return &Domain{Name: name, t: t, roots: []*pkitest.CA{pkitest.NewCA(t, name)}}
}

// Root returns the authority that signs now, to make leaves as wrong as the test
// needs.
func (d *Domain) Root() *pkitest.CA {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.roots[len(d.roots)-1]
}

// Authorities returns the domain's bundle.
func (d *Domain) Authorities() []*x509.Certificate {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []*x509.Certificate
	for _, ca := range d.roots {
		all = append(all, ca.Cert)
	}
	return all
}

// Pool returns the domain's bundle for crypto/tls.
func (d *Domain) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range d.Authorities() {
		pool.AddCert(c)
	}
	return pool
}

// ClientSVID makes an X.509-SVID for a client, which no stream sees. id is a
// whole SPIFFE ID, or a path in this domain; one with a lifetime under zero has
// ended.
func (d *Domain) ClientSVID(id string, lifetime time.Duration) tls.Certificate {
	d.t.Helper()
	return d.issue(id, lifetime).TLS
}

func (d *Domain) issue(id string, lifetime time.Duration) *pkitest.Cert {
	d.t.Helper()
	end := time.Now().Add(lifetime)
	return d.Root().Issue(d.t, pkitest.Leaf{
		URIs: []string{d.full(id)}, NotBefore: end.Add(-max(lifetime, 0) - time.Minute), NotAfter: end,
	})
}

func (d *Domain) full(id string) string {
	if id != "" && id[0] == '/' {
		return "spiffe://" + d.Name + id
	}
	return id
}

// rotate adds a root, or leaves the last alone.
func (d *Domain) rotate() {
	d.t.Helper()
	next := pkitest.NewCA(d.t, d.Name)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.roots = append(d.roots, next)
}

func (d *Domain) retire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.roots = d.roots[len(d.roots)-1:]
}

// Message makes one entry of an update: certificate, key and bundle as they are,
// fit together or not.
func Message(t testing.TB, id string, c *pkitest.Cert, bundle []*x509.Certificate) *workload.X509SVID {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.TLS.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	m := &workload.X509SVID{SpiffeId: id, X509SvidKey: key, Bundle: der(bundle)}
	for _, raw := range c.TLS.Certificate {
		m.X509Svid = append(m.X509Svid, raw...)
	}
	return m
}

func der(certs []*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, c.Raw...)
	}
	return out
}
