package inspect_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/inspect"
)

// issue writes a certificate of a key that need not be anybody's.
func issue(t *testing.T, public any, edit func(*x509.Certificate)) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	edit(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestHostilePEMIsBounded: what a megabyte of PEM is made into is bounded, a key of
// half a million bits checks no signature, and a request that ended is left.
//
// Holds: client/inspect-cost
func TestHostilePEMIsBounded(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := new(big.Int).Lsh(big.NewInt(1), 500_000)
	huge := &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
	for name, input := range map[string][]byte{
		"a huge key": issue(t, huge, func(c *x509.Certificate) {}),
		"attributes": issue(t, key.Public(), func(c *x509.Certificate) {
			for range 20_000 {
				c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: "x"})
			}
		}),
		"usages": issue(t, key.Public(), func(c *x509.Certificate) {
			for i := range 20_000 {
				c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, asn1.ObjectIdentifier{1, 2, 3, i})
			}
		}),
	} {
		report, err := inspect.PEM(context.Background(), input, time.Now())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if out, err := json.Marshal(report); err != nil || len(out) > 16<<10 {
			t.Errorf("%s: a report of %d bytes, want at most 16 KB (%v)", name, len(out), err)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	input := issue(t, key.Public(), func(*x509.Certificate) {})
	if _, err := inspect.PEM(ended, input, time.Now()); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended request: got %v, want %v", err, context.Canceled)
	}
}
