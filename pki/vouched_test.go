package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// TestUnvouchedKeysCheckNothing: no signature is checked by a key of a stranger's
// intermediates, whatever names they have.
//
// Holds: stranger/unvouched-keys
func TestUnvouchedKeysCheckNothing(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	s := snapshotOf(t, pkitest.NewCA(t, "server"), pkitest.NewCA(t, "Clients"))
	top := s.Bundle.certs[0]
	for name, above := range map[string]*x509.Certificate{
		"nobody's name":     {Subject: pkix.Name{CommonName: "nobody"}},
		"the anchor's name": {RawSubject: top.RawSubject, Subject: top.Subject},
	} {
		made := func(n int64, subject string, ca bool, parent *x509.Certificate, by *ecdsa.PrivateKey) *x509.Certificate {
			return signedWith(t, &x509.Certificate{SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: subject},
				NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
				IsCA: ca, BasicConstraintsValid: ca}, parent, key.Public(), by)
		}
		high := made(3, "high", true, above, key)
		low := made(2, "low", true, high, key)
		sent := []*x509.Certificate{made(1, "leaf", false, &x509.Certificate{Subject: low.Subject}, other), low, high}
		checks := 0
		copies := counted(sent, &checks)
		if got := s.Bundle.issuersOf(copies).vouched(copies); len(got) > 0 || checks > 0 {
			t.Errorf("%s: %d vouched for, %d signatures checked by their keys", name, len(got), checks)
		}
		_, err := s.Verify(sent, time.Now)
		if ReasonOf(err, "") != Untrusted || strings.Contains(err.Error(), "candidate authority") {
			t.Errorf("%s: crypto/x509 had the intermediates: %v", name, err)
		}
	}
}

// TestVouched: an anchor vouches for a chain in any order, and not for what is beside it
// or below something else.
func TestVouched(t *testing.T) {
	root := pkitest.NewCA(t, "Root")
	high := root.Intermediate(t, "High", nil)
	low := high.Intermediate(t, "Low", nil)
	leaf := low.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}).Leaf
	beside, twin := root.Intermediate(t, "Beside", nil), pkitest.NewCA(t, "High").Intermediate(t, "Low", nil)
	s := snapshotOf(t, root, root)
	for _, behind := range [][]*x509.Certificate{
		{low.Cert, high.Cert}, {high.Cert, low.Cert}, {low.Cert, root.Cert, high.Cert},
		{twin.Cert, beside.Cert, high.Cert, low.Cert},
	} {
		sent := append([]*x509.Certificate{leaf}, behind...)
		got := s.Bundle.issuersOf(sent).vouched(sent)
		if !slices.ContainsFunc(got, low.Cert.Equal) || !slices.ContainsFunc(got, high.Cert.Equal) ||
			slices.ContainsFunc(got, twin.Cert.Equal) || slices.ContainsFunc(got, beside.Cert.Equal) {
			t.Errorf("%d of %d are vouched for, and not the two of the chain", len(got), len(behind))
		}
		if _, err := s.Verify(sent, time.Now); err != nil {
			t.Error(err)
		}
	}
}
