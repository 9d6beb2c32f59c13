package revocation_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sangate/sangate/pki/revocation"
)

// An issuer is a CA whose key the test has, as pkitest's does not let out.
type issuer struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	parent *issuer
}

func newIssuer(t testing.TB, name string, parent *issuer, edit func(*x509.Certificate)) *issuer {
	t.Helper()
	ca := &issuer{key: newKey(t), parent: parent}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if edit != nil {
		edit(template)
	}
	ca.cert = certify(t, template, ca.key, parent)
	return ca
}

func (ca *issuer) leaf(t testing.TB, number *big.Int) *x509.Certificate {
	t.Helper()
	return certify(t, &x509.Certificate{
		SerialNumber: number, NotBefore: time.Unix(0, 0), NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		DNSNames: []string{"a.example"},
	}, newKey(t), ca)
}

// chain is the leaf and all above it.
func (ca *issuer) chain(leaf *x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{leaf}
	for ; ca != nil; ca = ca.parent {
		chain = append(chain, ca.cert)
	}
	return chain
}

func certify(t testing.TB, template *x509.Certificate, key *ecdsa.PrivateKey, by *issuer) *x509.Certificate {
	t.Helper()
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A list is what to put into a CRL. Its zero value begins now, ends in a day,
// and holds nothing.
type list struct {
	number     int64 // 1 where 0
	this, next time.Time
	serials    []*big.Int
	extra      []pkix.Extension
}

// crl makes a list by the standard library, as CAs do.
func (ca *issuer) crl(t testing.TB, l list) []byte {
	t.Helper()
	if l.number == 0 {
		l.number = 1
	}
	if l.this.IsZero() {
		l.this = time.Now()
	}
	if l.next.IsZero() {
		l.next = l.this.Add(24 * time.Hour)
	}
	template := &x509.RevocationList{Number: big.NewInt(l.number), ThisUpdate: l.this, NextUpdate: l.next, ExtraExtensions: l.extra}
	for _, n := range l.serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: n, RevocationTime: l.this, ReasonCode: 1})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, ca.cert, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// A field writes a part of a list made by hand.
type field = func(*cryptobyte.Builder)

var oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}

// byHand makes a list with whatever is given after the issuer: times, entries,
// extensions.
func (ca *issuer) byHand(t testing.TB, fields ...field) []byte {
	t.Helper()
	algorithm := func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidECDSAWithSHA256) })
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		algorithm(b)
		b.AddBytes(ca.cert.RawSubject)
		for _, f := range fields {
			f(b)
		}
	})
	tbs := b.BytesOrPanic()
	sum := sha256.Sum256(tbs)
	signature, err := ecdsa.SignASN1(rand.Reader, ca.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	var out cryptobyte.Builder
	out.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		algorithm(b)
		b.AddASN1BitString(signature)
	})
	return out.BytesOrPanic()
}

func utc(t time.Time) field { return func(b *cryptobyte.Builder) { b.AddASN1UTCTime(t.UTC()) } }

// dates are this update, a minute ago, and the next, in an hour.
func dates(b *cryptobyte.Builder) {
	utc(time.Now().Add(-time.Minute))(b)
	utc(time.Now().Add(time.Hour))(b)
}

func seq(fields ...field) field {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, f := range fields {
				f(b)
			}
		})
	}
}

// integer writes content bytes as they are given.
func integer(content ...byte) field {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	}
}

// entry is one revoked certificate.
func entry(content []byte, extensions ...field) field {
	fields := []field{integer(content...), utc(time.Now())}
	if extensions != nil {
		fields = append(fields, seq(extensions...))
	}
	return seq(fields...)
}

func extension(last int, critical bool, value ...byte) field {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{2, 5, 29, last})
			if critical {
				b.AddASN1Boolean(true)
			}
			b.AddASN1OctetString(value)
		})
	}
}

func extensions(fields ...field) field {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { seq(fields...)(b) })
	}
}

func parse(t testing.TB, der []byte, now time.Time, issuers ...*issuer) *revocation.CRL {
	t.Helper()
	c, err := revocation.ParseCRL(der, certs(issuers...), now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func certs(issuers ...*issuer) []*x509.Certificate {
	var out []*x509.Certificate
	for _, ca := range issuers {
		out = append(out, ca.cert)
	}
	return out
}

func numbers(ns ...int64) []*big.Int {
	var out []*big.Int
	for _, n := range ns {
		out = append(out, big.NewInt(n))
	}
	return out
}
