package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// hostile makes a self-signed certificate, as a stranger would.
func hostile(t testing.TB, edit func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	edit(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func signedWith(t testing.TB, template, issuer *x509.Certificate, key crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	t.Helper()
	template = new(*template)
	template.SignatureAlgorithm = x509.UnknownSignatureAlgorithm
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key, by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func fatSubject(n int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for range n {
			c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: "x"})
		}
	}
}

func numbered(n int, format string) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf(format, i))
	}
	return out
}

// hostiles are certificates that cost much where their size is not looked at.
func hostiles(t testing.TB) map[string]*x509.Certificate {
	return map[string]*x509.Certificate{
		"name attributes": hostile(t, fatSubject(20_000)),
		"a long name":     hostile(t, func(c *x509.Certificate) { c.Subject.CommonName = strings.Repeat("x", 125_000) }),
		"names":           hostile(t, func(c *x509.Certificate) { c.DNSNames = numbered(5_000, "h%d.example") }),
		"extensions": hostile(t, func(c *x509.Certificate) {
			for i := range 2_000 {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, i}, Value: []byte{5, 0}})
			}
		}),
		"usages": hostile(t, func(c *x509.Certificate) {
			for i := range 1_000 {
				c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, asn1.ObjectIdentifier{1, 2, 3, i})
			}
		}),
		"policies": hostile(t, func(c *x509.Certificate) {
			for i := range 1_000 {
				oid, err := x509.OIDFromInts([]uint64{1, 2, 3, uint64(i)})
				if err != nil {
					t.Fatal(err)
				}
				c.Policies = append(c.Policies, oid)
			}
		}),
		"name constraints": hostile(t, func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid = true, true
			c.PermittedDNSDomains = numbered(500, "h%d.example")
		}),
		"information access": hostile(t, func(c *x509.Certificate) { c.OCSPServer = numbered(200, "http://h%d.example") }),
	}
}

// TestFatCertificatesRefusedBeforeVerifying: what a stranger sends is measured
// before any signature is checked, and the refusal says little.
//
// Holds: stranger/certificate-size
func TestFatCertificatesRefusedBeforeVerifying(t *testing.T) {
	ca := pkitest.NewCA(t, "clients")
	s := snapshotOf(t, ca, ca)
	good := ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}})
	for name, fat := range hostiles(t) {
		for place, sent := range map[string][]*x509.Certificate{"leaf": {fat}, "sent beside it": {good.Leaf, fat}} {
			_, err := s.verifyKnown(sent, time.Now)
			refused, ok := errors.AsType[*RefusedError](err)
			if !ok || refused.Reason != BadCertificate || !strings.Contains(refused.Detail, "at most") {
				t.Errorf("%s, %s: got %.200v, want %s by size", name, place, err, BadCertificate)
				continue
			}
			if len(err.Error()) > 512 {
				t.Errorf("%s, %s: error of %d bytes", name, place, len(err.Error()))
			}
		}
	}
}

// TestNameTextIsBounded: the text of a name is bounded, and is what crypto/x509
// makes of an ordinary one.
//
// Holds: stranger/name-text
func TestNameTextIsBounded(t *testing.T) {
	for name, c := range hostiles(t) {
		if text := NameText(c.Subject); len(text) > maxNameText+len("…")*2 {
			t.Errorf("%s: text of %d bytes", name, len(text))
		}
	}
	fat := hostiles(t)["name attributes"].Subject
	if n := testing.AllocsPerRun(3, func() { NameText(fat) }); n > 2_000 {
		t.Errorf("%v allocations for a name of 20,000 attributes", n)
	}
	ordinary := pkix.Name{CommonName: "bot, of acme", Organization: []string{"Acme", "Ümlaut"}, Country: []string{"DE"}, SerialNumber: "7"}
	if got, want := NameText(ordinary), ordinary.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPathExplosionRefused: issuers of one name that could stand in any order are
// refused before the orders are tried; an ordinary long chain is not.
//
// Holds: stranger/path-explosion
func TestPathExplosionRefused(t *testing.T) {
	root := pkitest.NewCA(t, "root")
	s := snapshotOf(t, root, root)
	leaf := pkitest.NewCA(t, "x").Issue(t, pkitest.Leaf{DNS: []string{"a.example"}})
	sent := []*x509.Certificate{leaf.Leaf}
	for range MaxChain - 1 {
		sent = append(sent, pkitest.NewCA(t, "x").Cert)
	}
	_, err := s.Verify(sent, time.Now)
	if ReasonOf(err, "") != BadCertificate {
		t.Errorf("got %v, want %s", err, BadCertificate)
	}
	issuer := root
	for i := range MaxChain - 2 {
		issuer = issuer.Intermediate(t, fmt.Sprint("i", i), nil)
	}
	long := issuer.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}})
	var chain []*x509.Certificate
	for _, der := range long.TLS.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	if _, err := s.Verify(chain, time.Now); err != nil {
		t.Errorf("a chain of %d: %v", len(chain)+1, err)
	}
}

// TestWeakKeysRefused: weak keys and signatures are refused anywhere in a chain,
// known from before or not, and taken only where their kind is named.
//
// Holds: client/weak-keys
func TestWeakKeysRefused(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	ca := pkitest.NewCA(t, "clients")
	s := snapshotOf(t, ca, ca)
	rsaKey := func(bits int) *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := func(l pkitest.Leaf) []*x509.Certificate {
		l.DNS = []string{"a.example"}
		return []*x509.Certificate{ca.Issue(t, l).Leaf}
	}
	for _, tt := range []struct {
		name    string
		sent    []*x509.Certificate
		allowed []WeakKey
		want    Reason
	}{
		{"P-256", of(pkitest.Leaf{}), nil, ""},
		{"RSA 2048", of(pkitest.Leaf{Key: rsaKey(2048)}), nil, ""},
		{"RSA 1024", of(pkitest.Leaf{Key: rsaKey(1024)}), nil, BadCertificate},
		{"RSA 1024 allowed", of(pkitest.Leaf{Key: rsaKey(1024)}), []WeakKey{RSA1024}, ""},
		{"RSA 1024 with another kind allowed", of(pkitest.Leaf{Key: rsaKey(1024)}), []WeakKey{P224}, BadCertificate},
		{"RSA 512", of(pkitest.Leaf{Key: rsaKey(512)}), WeakKeys(), BadCertificate},
		{"P-224", of(pkitest.Leaf{Key: p224}), nil, BadCertificate},
		{"P-224 allowed", of(pkitest.Leaf{Key: p224}), []WeakKey{P224}, ""},
		{"SHA-1", of(pkitest.Leaf{SignatureAlgorithm: x509.ECDSAWithSHA1}), WeakKeys(), BadCertificate},
	} {
		under := *s
		under.WeakKeys = tt.allowed
		_, err := under.verifyKnown(tt.sent, time.Now)
		if got := ReasonOf(err, ""); got != tt.want {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		if _, err := s.verifyKnown(tt.sent, time.Now); len(tt.allowed) > 0 && ReasonOf(err, "") != BadCertificate {
			t.Errorf("%s: known under a wider setting: got %v, want %s", tt.name, err, BadCertificate)
		}
	}
	weakCA := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "weak"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	weakCA = signedWith(t, weakCA, weakCA, p224.Public(), p224)
	bundle, err := NewBundle([]*x509.Certificate{weakCA})
	if err != nil {
		t.Fatal(err)
	}
	below := signedWith(t, of(pkitest.Leaf{})[0], weakCA, rsaKey(2048).Public(), p224)
	for _, allowed := range [][]WeakKey{nil, {P224}, nil} { // the last time it is known
		under := Snapshot{Certificate: s.Certificate, Bundle: bundle, WeakKeys: allowed}
		want := BadCertificate
		if allowed != nil {
			want = ""
		}
		if _, err := under.verifyKnown([]*x509.Certificate{below}, time.Now); ReasonOf(err, "") != want {
			t.Errorf("below an anchor on P-224, allowed %v: got %v, want %q", allowed, err, want)
		}
	}
	odd := *of(pkitest.Leaf{Key: rsaKey(2048)})[0]
	odd.PublicKey = &rsa.PublicKey{N: odd.PublicKey.(*rsa.PublicKey).N, E: 1<<31 - 1}
	if err := CheckKey(&odd, WeakKeys()); ReasonOf(err, "") != BadCertificate {
		t.Errorf("exponent 2^31-1: got %v", err)
	}
}

// BenchmarkHostile is what one unverified certificate costs before it is refused,
// parsing included.
func BenchmarkHostile(b *testing.B) {
	for name, c := range hostiles(b) {
		s := &Snapshot{Bundle: &Bundle{}}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				parsed, err := x509.ParseCertificate(c.Raw)
				if err != nil {
					b.Fatal(err)
				}
				if s.CheckSent([]*x509.Certificate{parsed}) == nil {
					b.Fatal("taken")
				}
			}
		})
	}
}

// TestDearSignaturesCountTwice: of signatures on P-521, which cost the most, half
// as many are checked as of others, and an ordinary chain of them is still taken.
//
// Holds: stranger/signature-cost
func TestDearSignaturesCountTwice(t *testing.T) {
	ca := pkitest.NewCA(t, "clients")
	s := snapshotOf(t, ca, ca)
	twins := func(curve elliptic.Curve, count int) error {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		named := func(subject string, n int) *x509.Certificate {
			return &x509.Certificate{SerialNumber: big.NewInt(int64(n)), Subject: pkix.Name{CommonName: subject}, NotBefore: time.Now().Add(-time.Hour),
				NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		}
		sent := []*x509.Certificate{signedWith(t, named("leaf", 1), named("x", 1), key.Public(), key)}
		for n := range count { // two of the name x, the others above them
			subject, issuer := "x", "y"
			if n >= 2 {
				subject, issuer = "y", "z"
			}
			sent = append(sent, signedWith(t, named(subject, n+2), named(issuer, 1), key.Public(), key))
		}
		return s.CheckSent(sent)
	}
	for _, tt := range []struct {
		curve elliptic.Curve
		want  Reason
	}{{elliptic.P256(), ""}, {elliptic.P384(), ""}, {elliptic.P521(), BadCertificate}} {
		if err := twins(tt.curve, 4); ReasonOf(err, "") != tt.want { // 2 + 2*2 checks
			t.Errorf("six checks on %s: got %v, want %q", tt.curve.Params().Name, err, tt.want)
		}
	}
	if err := twins(elliptic.P521(), 3); err != nil { // 2 + 2*1 checks
		t.Errorf("four checks on P-521: %v", err)
	}
}
