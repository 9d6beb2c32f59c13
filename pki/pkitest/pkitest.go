// Package pkitest makes certificate authorities and leaves in memory, good ones
// and bad ones of every kind, for tests of this project and of its users.
//
// Nothing is written but by [Cert.Write], and keys are good for nothing but
// tests. Certificates are valid from one minute before to one hour after the
// moment they are made, unless the [Leaf] says otherwise.
package pkitest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A CA signs leaves and further CAs.
type CA struct {
	Cert   *x509.Certificate
	key    crypto.Signer
	issuer *CA // nil: a root
}

// NewCA makes a self-signed root.
func NewCA(t testing.TB, name string) *CA {
	t.Helper()
	return makeCA(t, name, nil, nil)
}

// Key returns the CA's private key, for lists and answers it signs.
func (ca *CA) Key() crypto.Signer { return ca.key }

// Sibling makes a certificate for the same CA, name and key, with another
// serial and dates: a root or intermediate renewed, or expired, by edit.
func (ca *CA) Sibling(t testing.TB, edit func(*x509.Certificate)) *CA {
	t.Helper()
	return makeCAWith(t, ca.key, ca.Cert.Subject.CommonName, ca.issuer, edit)
}

// CrossSigned makes another certificate for the same CA, name and key, below
// another one; edit may be nil.
func (ca *CA) CrossSigned(t testing.TB, by *CA, edit func(*x509.Certificate)) *CA {
	t.Helper()
	return makeCAWith(t, ca.key, ca.Cert.Subject.CommonName, by, edit)
}

// Intermediate makes a CA below ca; edit (which may be nil) changes its
// template, to add name constraints or a path length.
func (ca *CA) Intermediate(t testing.TB, name string, edit func(*x509.Certificate)) *CA {
	t.Helper()
	return makeCA(t, name, ca, edit)
}

func makeCA(t testing.TB, name string, issuer *CA, edit func(*x509.Certificate)) *CA {
	t.Helper()
	return makeCAWith(t, newKey(t), name, issuer, edit)
}

func makeCAWith(t testing.TB, key crypto.Signer, name string, issuer *CA, edit func(*x509.Certificate)) *CA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:          serial(t),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(36 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if edit != nil {
		edit(template)
	}
	ca := &CA{key: key, issuer: issuer}
	parent, signer := template, ca.key
	if issuer != nil {
		parent, signer = issuer.Cert, issuer.key
	}
	ca.Cert = sign(t, template, parent, ca.key.Public(), signer)
	return ca
}

// PEM returns the CA's certificate.
func (ca *CA) PEM() []byte { return encode(ca.Cert.Raw) }

// Pool returns a pool with this CA alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return pool
}

// A Leaf says what to put into a certificate; its zero value is a good client
// and server certificate without a name. Names are written byte for byte, so
// they may be as wrong as the test needs.
type Leaf struct {
	CommonName string
	URIs       []string
	DNS        []string
	Emails     []string
	IPs        []string
	UPNs       []string // Microsoft user principal names, as otherName

	CRLPoints []string // addresses of its distribution points
	OCSP      []string // addresses of its responders

	NotBefore, NotAfter time.Time
	ExtKeyUsage         []x509.ExtKeyUsage // clientAuth and serverAuth where nil
	NoExtKeyUsage       bool
	IsCA                bool
	KeyUsage            x509.KeyUsage // digitalSignature where zero
	Key                 crypto.Signer // a new P-256 key where nil
	SignatureAlgorithm  x509.SignatureAlgorithm
	OtherKey            bool // the private key is not the certificate's
	SelfSigned          bool
}

// A Cert is a leaf, its issuers below the root, and its key.
type Cert struct {
	TLS  tls.Certificate
	Leaf *x509.Certificate
}

// Issue makes a leaf.
func (ca *CA) Issue(t testing.TB, l Leaf) *Cert {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:          serial(t),
		Subject:               pkix.Name{CommonName: l.CommonName},
		NotBefore:             l.NotBefore,
		NotAfter:              l.NotAfter,
		KeyUsage:              l.KeyUsage,
		ExtKeyUsage:           l.ExtKeyUsage,
		IsCA:                  l.IsCA,
		BasicConstraintsValid: true,
		SignatureAlgorithm:    l.SignatureAlgorithm,
		CRLDistributionPoints: l.CRLPoints,
		OCSPServer:            l.OCSP,
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Minute)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	if template.KeyUsage == 0 {
		template.KeyUsage = x509.KeyUsageDigitalSignature
	}
	if template.ExtKeyUsage == nil && !l.NoExtKeyUsage {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	}
	if san := l.san(t); san != nil {
		template.ExtraExtensions = append(template.ExtraExtensions,
			pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san})
	}
	key := l.Key
	if key == nil {
		key = newKey(t)
	}
	parent, signer := ca.Cert, ca.key
	if l.SelfSigned {
		parent, signer = template, key
	}
	c := &Cert{Leaf: sign(t, template, parent, key.Public(), signer)}
	if l.OtherKey {
		key = newKey(t)
	}
	c.TLS = tls.Certificate{Certificate: [][]byte{c.Leaf.Raw}, PrivateKey: key, Leaf: c.Leaf}
	for up := ca; up != nil && up.issuer != nil && !l.SelfSigned; up = up.issuer {
		c.TLS.Certificate = append(c.TLS.Certificate, up.Cert.Raw)
	}
	return c
}

// CertPEM returns the leaf and its intermediates.
func (c *Cert) CertPEM() []byte {
	var out []byte
	for _, der := range c.TLS.Certificate {
		out = append(out, encode(der)...)
	}
	return out
}

// KeyPEM returns the private key as PKCS #8.
func (c *Cert) KeyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.TLS.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Write writes name.crt and name.key into dir and returns their paths.
func (c *Cert) Write(t testing.TB, dir, name string) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for file, data := range map[string][]byte{certFile: c.CertPEM(), keyFile: c.KeyPEM(t)} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// san encodes the names as GeneralNames (RFC 5280, 4.2.1.6), unchecked.
func (l Leaf) san(t testing.TB) []byte {
	t.Helper()
	var b cryptobyte.Builder
	n := 0
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		add := func(tag uint8, values ...string) {
			for _, v := range values {
				n++
				b.AddASN1(cbasn1.Tag(tag).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(v)) })
			}
		}
		for _, upn := range l.UPNs {
			n++
			b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3})
				b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(upn)) })
				})
			})
		}
		add(1, l.Emails...)
		add(2, l.DNS...)
		add(6, l.URIs...)
		for _, ip := range l.IPs {
			addr, err := netip.ParseAddr(ip)
			if err != nil {
				t.Fatal(err)
			}
			add(7, string(addr.AsSlice()))
		}
	})
	if n == 0 {
		return nil
	}
	der, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		t.Fatal(err)
	}
	return n.Add(n, big.NewInt(1))
}

func sign(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
