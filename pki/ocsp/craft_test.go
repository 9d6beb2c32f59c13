package ocsp

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

type wholeAnswer struct {
	Status asn1.Enumerated
	Bytes  struct {
		Type asn1.ObjectIdentifier
		Data []byte
	} `asn1:"explicit,tag:0"`
}

type basicAnswer struct {
	Data      asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
	Certs     []asn1.RawValue `asn1:"explicit,tag:0,optional"`
}

// craft changes what is signed in an answer, and signs it again.
func craft(t testing.TB, der []byte, key crypto.Signer, edit func(*responseData)) []byte {
	t.Helper()
	must := func(_ []byte, err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	var whole wholeAnswer
	var basic basicAnswer
	var data responseData
	must(asn1.Unmarshal(der, &whole))
	must(asn1.Unmarshal(whole.Bytes.Data, &basic))
	must(asn1.Unmarshal(basic.Data.FullBytes, &data))
	edit(&data)
	tbs, err := asn1.Marshal(data)
	must(nil, err)
	sum := sha256.Sum256(tbs)
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	must(nil, err)
	basic.Data = asn1.RawValue{FullBytes: tbs}
	basic.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	whole.Bytes.Data, err = asn1.Marshal(basic)
	must(nil, err)
	out, err := asn1.Marshal(whole)
	must(nil, err)
	return out
}

// What golang.org/x/crypto/ocsp takes, or makes nothing of.
func TestCraftedAnswers(t *testing.T) {
	ca := newCA(t, "ours", nil)
	r := &responder{ca: ca}
	q := question{serial: ca.leaf(t).cert.SerialNumber, issuer: ca.cert}
	now := time.Now()
	sign := func(status int) []byte {
		der, err := r.sign(ocsp.Response{Status: status, SerialNumber: q.serial, RevokedAt: now,
			ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	critical := []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	another := func(d *responseData, name, key bool) singleResponse {
		s := d.Responses[0]
		if s.ID.NameHash = append([]byte(nil), s.ID.NameHash...); name {
			s.ID.NameHash[0] ^= 1
		}
		if s.ID.KeyHash = append([]byte(nil), s.ID.KeyHash...); key {
			s.ID.KeyHash[0] ^= 1
		}
		s.Status = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0}
		return s
	}
	for _, test := range []struct {
		name   string
		status int
		edit   func(*responseData)
		want   Status
		err    string
	}{
		{"untouched", ocsp.Good, func(*responseData) {}, Good, ""},
		{"another issuer's name", ocsp.Good, func(d *responseData) { d.Responses[0] = another(d, true, false) }, 0, "another issuer"},
		{"another issuer's key", ocsp.Good, func(d *responseData) { d.Responses[0] = another(d, false, true) }, 0, "another issuer"},
		{"unknown hash", ocsp.Good, func(d *responseData) {
			d.Responses = append(d.Responses, another(d, false, false))
			d.Responses[1].ID.Hash.Algorithm = asn1.ObjectIdentifier{1, 2, 3}
		}, Good, ""},
		// The same serial number of another CA comes first, and is good.
		{"another issuer's first", ocsp.Revoked, func(d *responseData) {
			d.Responses = append([]singleResponse{another(d, false, true)}, d.Responses...)
		}, Revoked, ""},
		{"another certificate's first", ocsp.Revoked, func(d *responseData) {
			s := another(d, false, false)
			s.ID.Serial = ca.cert.SerialNumber
			d.Responses = append([]singleResponse{s}, d.Responses...)
		}, Revoked, ""},
		{"twice", ocsp.Revoked, func(d *responseData) {
			d.Responses = append([]singleResponse{another(d, false, false)}, d.Responses...)
		}, 0, "twice"},
		{"critical extension", ocsp.Good, func(d *responseData) { d.Extensions = critical }, 0, "critical"},
		{"critical extension of the entry", ocsp.Good, func(d *responseData) { d.Responses[0].Extensions = critical }, 0, "critical"},
		{"version 2", ocsp.Good, func(d *responseData) { d.Version = 1 }, 0, "version"},
		{"unknown status", ocsp.Good, func(d *responseData) {
			d.Responses[0].Status = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 3}
		}, 0, "not an OCSP answer"},
		{"status of another class", ocsp.Good, func(d *responseData) {
			d.Responses[0].Status = asn1.RawValue{Tag: asn1.TagNull}
		}, 0, ""},
		{"made in the future", ocsp.Good, func(d *responseData) { d.ProducedAt = now.Add(2 * time.Minute).UTC() }, 0, "future"},
		{"no next update, made long ago", ocsp.Good, func(d *responseData) {
			d.Responses[0].NextUpdate = time.Time{}
			d.ProducedAt = now.Add(-10 * time.Minute).UTC()
		}, 0, "no next update"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, err := new(Options).read(craft(t, sign(test.status), ca.key, test.edit), q, now)
			switch {
			case test.want != Unknown:
				if err != nil || a.status != test.want {
					t.Errorf("%+v, %v", a, err)
				}
			case err == nil || !strings.Contains(err.Error(), test.err):
				t.Errorf("%+v, %v; want %q", a, err, test.err)
			}
		})
	}
}

// Answers that look right but for the key that signed them.
func TestForgedAnswers(t *testing.T) {
	ca, other := newCA(t, "ours", nil), newCA(t, "ours", nil)
	r := &responder{ca: ca}
	q := question{serial: ca.leaf(t).cert.SerialNumber, issuer: ca.cert}
	now := time.Now()
	for name, by := range map[string]*authority{"nothing": nil, "the issuer": ca, "a delegate": ca.delegate(t, nil)} {
		der, err := r.sign(ocsp.Response{SerialNumber: q.serial, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, by)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := new(Options).read(der, q, now); err != nil {
			t.Errorf("%s enclosed: %v", name, err)
		}
		forged := craft(t, der, other.key, func(*responseData) {})
		if a, err := new(Options).read(forged, q, now); err == nil {
			t.Errorf("%s enclosed, signed with another key: %+v", name, a)
		}
	}
}

// An answer without a next update is held for five minutes at most.
func TestNoNextUpdate(t *testing.T) {
	now := time.Now()
	until, err := current(now.Add(-time.Minute), now.Add(-time.Hour), time.Time{}, now)
	if err != nil || !until.Equal(now.Add(4*time.Minute)) {
		t.Errorf("until %v, %v", until.Sub(now), err)
	}
	until, err = current(now.Add(30*time.Second), now, time.Time{}, now)
	if err != nil || !until.Equal(now.Add(5*time.Minute)) {
		t.Errorf("until %v, %v", until.Sub(now), err)
	}
}

// FuzzRead checks that whatever a responder sends makes an answer or an error of one
// line, never a panic.
//
// Holds: upstream/ocsp-bytes
func FuzzRead(f *testing.F) {
	ca := newCA(f, "ours", nil)
	r := &responder{ca: ca, by: nil}
	q := question{serial: ca.leaf(f).cert.SerialNumber, issuer: ca.cert}
	now := time.Now()
	for _, by := range []*authority{nil, ca.delegate(f, nil)} {
		for status := range 3 {
			der, err := r.sign(ocsp.Response{Status: status, SerialNumber: q.serial, RevokedAt: now,
				ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, by)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(der)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		a, err := new(Options).read(der, q, now)
		if err == nil && a == nil {
			t.Error("neither")
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
			t.Errorf("more than a line: %q", err)
		}
	})
}
