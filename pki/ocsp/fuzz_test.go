package ocsp

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

	"golang.org/x/crypto/ocsp"
)

// FuzzSignedAnswer signs whatever it gets with the issuer's key. Only an answer that
// golang.org/x/crypto/ocsp reads the same, of this certificate, within its dates, says
// that a certificate is good.
//
// Holds: authority/ocsp-misread
func FuzzSignedAnswer(f *testing.F) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), big.NewInt(7).FillBytes(make([]byte, 32))) // inputs stay good in every process
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		f.Fatal(err)
	}
	q := question{serial: big.NewInt(77), issuer: ca}
	sign := func(r ocsp.Response) []byte {
		r.ThisUpdate = now.Add(-time.Minute)
		der, err := ocsp.CreateResponse(ca, ca, r, key)
		if err != nil {
			f.Fatal(err)
		}
		return der
	}
	good := sign(ocsp.Response{Status: ocsp.Good, SerialNumber: q.serial, NextUpdate: now.Add(time.Hour)})
	for _, der := range [][]byte{good, sign(ocsp.Response{Status: ocsp.Revoked, SerialNumber: q.serial, RevokedAt: now, RevocationReason: 1, NextUpdate: now.Add(time.Hour)}),
		sign(ocsp.Response{Status: ocsp.Unknown, SerialNumber: q.serial}), sign(ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(78)}),
		sign(ocsp.Response{Status: ocsp.Good, SerialNumber: q.serial, NextUpdate: now.Add(-time.Hour)})} {
		r, err := ocsp.ParseResponse(der, ca)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r.TBSResponseData)
	}
	var whole wholeAnswer
	if _, err := asn1.Unmarshal(good, &whole); err != nil {
		f.Fatal(err)
	}
	var basic basicAnswer
	if _, err := asn1.Unmarshal(whole.Bytes.Data, &basic); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, tbs []byte) {
		sum := sha256.Sum256(tbs)
		signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		b, w := basic, whole
		b.Data, b.Signature = asn1.RawValue{FullBytes: tbs}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
		if w.Bytes.Data, err = asn1.Marshal(b); err != nil {
			return
		}
		der, err := asn1.Marshal(w)
		if err != nil {
			return
		}
		a, err := new(Options).read(der, q, now)
		if err != nil {
			if len(err.Error()) > 2<<10 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		theirs, err := ocsp.ParseResponseForCert(der, &x509.Certificate{SerialNumber: q.serial}, ca)
		if err != nil {
			t.Fatalf("took %x: %v", der, err)
		}
		if theirs.SerialNumber.Cmp(q.serial) != 0 {
			t.Fatalf("took the answer for %v", theirs.SerialNumber)
		}
		var data responseData
		if _, err := asn1.Unmarshal(theirs.TBSResponseData, &data); err != nil {
			t.Fatal(err)
		}
		if len(data.Responses) != 1 {
			return // theirs is the first with the serial number, whoever issued it
		}
		if a.status == Good && theirs.Status != ocsp.Good || a.status != Revoked && theirs.Status == ocsp.Revoked {
			t.Errorf("status %v, golang.org/x/crypto/ocsp has %d", a.status, theirs.Status)
		}
		if a.thisUpdate.After(now.Add(skew)) || now.After(a.until) || !theirs.NextUpdate.IsZero() && a.until.After(theirs.NextUpdate) {
			t.Errorf("from %v until %v, at %v; its next update is %v", a.thisUpdate, a.until, now, theirs.NextUpdate)
		}
	})
}
