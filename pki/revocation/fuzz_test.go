package revocation_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/revocation"
)

// FuzzSignedCRL signs whatever it gets with the issuer's key. A list that is taken is
// one that crypto/x509 takes, with the same certificates on it, dates and number: none
// that is revoked is missed.
//
// Holds: authority/crl-misread
func FuzzSignedCRL(f *testing.F) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize)) // inputs stay good in every process
	now := time.Unix(1_800_000_000, 0)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		f.Fatal(err)
	}
	entries := func(serials ...int64) (out []x509.RevocationListEntry) {
		for _, n := range serials {
			out = append(out, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: now, ReasonCode: int(n % 3)})
		}
		return out
	}
	for _, l := range []*x509.RevocationList{
		{},
		{RevokedCertificateEntries: entries(1, 2, 300)},
		{RevokedCertificateEntries: entries(5, 5)},
		{RevokedCertificateEntries: entries(1), ExtraExtensions: []pkix.Extension{{Id: idpOID, Critical: true, Value: []byte{0x30, 3, 0x84, 1, 0xff}}}},
		{RevokedCertificateEntries: entries(1), ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}},
		{RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: now, ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}}}},
	} {
		l.Number, l.ThisUpdate, l.NextUpdate = big.NewInt(3), now.Add(-time.Minute), now.Add(time.Hour)
		der, err := x509.CreateRevocationList(rand.Reader, l, ca, key)
		if err != nil {
			f.Fatal(err)
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(list.RawTBSRevocationList)
	}
	f.Fuzz(func(t *testing.T, tbs []byte) {
		der, err := asn1.Marshal(struct {
			TBS       asn1.RawValue
			Algorithm pkix.AlgorithmIdentifier
			Signature asn1.BitString
		}{asn1.RawValue{FullBytes: tbs}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 101, 112}},
			asn1.BitString{Bytes: ed25519.Sign(key, tbs), BitLength: 8 * ed25519.SignatureSize}})
		if err != nil {
			return
		}
		c, err := revocation.ParseCRL(der, []*x509.Certificate{ca}, now)
		if c == nil {
			if err == nil || len(err.Error()) > 4<<10 {
				t.Fatalf("no list, err %.200v", err)
			}
			return
		}
		if err != nil && !errors.Is(err, revocation.ErrStale) {
			t.Fatalf("a list with %v", err)
		}
		theirs, err := x509.ParseRevocationList(der)
		if err != nil {
			t.Fatalf("took %x, crypto/x509: %v", der, err)
		}
		if err := theirs.CheckSignatureFrom(ca); err != nil {
			t.Fatalf("took %x: %v", der, err)
		}
		if !c.ThisUpdate.Equal(theirs.ThisUpdate) || !c.NextUpdate.Equal(theirs.NextUpdate) || (c.Number == nil) != (theirs.Number == nil) || c.Number != nil && c.Number.Cmp(theirs.Number) != 0 {
			t.Errorf("%v to %v, number %v; crypto/x509: %v to %v, number %v", c.ThisUpdate, c.NextUpdate, c.Number, theirs.ThisUpdate, theirs.NextUpdate, theirs.Number)
		}
		distinct := make(map[string]bool)
		for _, e := range theirs.RevokedCertificateEntries {
			distinct[e.SerialNumber.String()] = true
			if _, _, found := c.Lookup(e.SerialNumber); !found && e.ReasonCode != 8 { // removeFromCRL
				t.Errorf("%v is on the list, and not found", e.SerialNumber)
			}
		}
		if c.Len() > len(distinct) {
			t.Errorf("%d entries, crypto/x509 has %d", c.Len(), len(distinct))
		}
	})
}

// FuzzDenylistLines checks a denylist line by line: a list is taken if and only if each of its
// lines is, what was appended to it is on it, and errors are bounded and of one line each.
//
// Holds: operator/denylist-misread
func FuzzDenylistLines(f *testing.F) {
	for _, s := range []string{"serial:1f2@ab\nsha256:00\nsan:dns:a # x", "\ufeffspki:" + strings.Repeat("Ab", 32) + "\r\n", "serial:0x1f\n", "serial:00:1F\n\n#", "SERIAL:1", "san:dns:a#b", "\x00\n", strings.Repeat("serial:1\n", 200), "serial:" + strings.Repeat("1", 5000),
		"serial:1@", "serial:-1", "sha256:" + strings.Repeat("0:", 32)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := revocation.ParseDenylist(strings.NewReader(text), "f", exactly)
		if err != nil {
			if n := strings.Count(err.Error(), "\n"); n > 101 || len(err.Error()) > 101*500 {
				t.Errorf("an error of %d lines, %d bytes", n, len(err.Error()))
			}
			if strings.ContainsAny(err.Error(), "\r\x1b\x00") {
				t.Errorf("control characters in %q", err)
			}
			return
		}
		for line := range strings.Lines(text) {
			if _, err := revocation.ParseDenylist(strings.NewReader(line), "f", exactly); err != nil && !strings.HasPrefix(text, "\ufeff") {
				t.Errorf("the list is taken, its line %q is not: %v", line, err)
			}
		}
		const entry = "serial:7a7a7a7a"
		more, err := revocation.ParseDenylist(bytes.NewReader(revocation.AppendTo([]byte(text), []string{entry}, "added")), "f", exactly)
		if err != nil || more.Len() < d.Len() || more.Len() > d.Len()+1 {
			t.Errorf("with a line more: %v, %v", more, err)
		}
	})
}
