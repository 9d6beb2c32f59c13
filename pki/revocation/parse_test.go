package revocation_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sangate/sangate/pki/revocation"
)

var idpOID = asn1.ObjectIdentifier{2, 5, 29, 28}

func TestParseCRL(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	long := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 160), big.NewInt(1)) // 20 bytes of 0xff
	this := time.Now().Truncate(time.Second)
	der := ca.crl(t, list{number: 7, this: this, serials: append(numbers(5, 1, 0x80, 5), long)})
	for name, data := range map[string][]byte{
		"DER": der,
		"PEM": pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}),
	} {
		t.Run(name, func(t *testing.T) {
			c := parse(t, data, time.Now(), ca)
			if c.Len() != 4 || c.Number.Int64() != 7 || !c.ThisUpdate.Equal(this) || !c.NextUpdate.Equal(this.Add(24*time.Hour)) || c.Issuer != ca.cert {
				t.Errorf("len %d, number %v, %v to %v", c.Len(), c.Number, c.ThisUpdate, c.NextUpdate)
			}
			for _, n := range append(numbers(1, 5, 0x80), long) {
				if at, reason, found := c.Lookup(n); !found || reason != 1 || !at.Equal(this) {
					t.Errorf("%x: %v %v %v", n, at, reason, found)
				}
			}
			over := new(big.Int).Lsh(long, 8)
			for _, n := range append(numbers(0, 2, -1, -5, 0x8000), over, nil) {
				if _, _, found := c.Lookup(n); found {
					t.Errorf("%v is on the list", n)
				}
			}
		})
	}
}

func TestParseCRLScope(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	point := []byte{0x30, 0x12, 0xa0, 0x0d, 0xa0, 0x0b, 0x86, 0x09, 'h', 't', 't', 'p', ':', '/', '/', 'a', '/', 0x81, 0x01, 0xff}
	point[1] = byte(len(point) - 2)
	c := parse(t, ca.crl(t, list{extra: []pkix.Extension{{Id: idpOID, Critical: true, Value: point}}}), time.Now(), ca)
	if !slices.Equal(c.Points, []string{"http://a/"}) {
		t.Errorf("points %q", c.Points)
	}
}

func TestParseCRLStale(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	now := time.Now()
	c, err := revocation.ParseCRL(ca.crl(t, list{this: now.Add(-2 * time.Hour), next: now.Add(-time.Hour), serials: numbers(9)}), certs(ca), now)
	if !errors.Is(err, revocation.ErrStale) || c == nil {
		t.Fatalf("list %v, err %v", c, err)
	}
	if _, _, found := c.Lookup(big.NewInt(9)); !found {
		t.Error("a stale list forgot its entry")
	}
}

func TestParseCRLRefuses(t *testing.T) {
	ca, other := newIssuer(t, "ours", nil, nil), newIssuer(t, "other", nil, nil)
	twin := newIssuer(t, "ours", nil, nil) // same subject, other key
	noSign := newIssuer(t, "no sign", nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	now := time.Now()
	good := ca.crl(t, list{serials: numbers(1, 2, 3)})
	idp := func(content ...byte) []byte {
		value := append([]byte{0x30, byte(len(content))}, content...)
		return ca.crl(t, list{extra: []pkix.Extension{{Id: idpOID, Critical: true, Value: value}}})
	}
	with := func(entries ...field) []byte { return ca.byHand(t, dates, seq(entries...)) }
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	renumbered := bytes.Replace(good, []byte{0x02, 0x01, 0x02, 0x17}, []byte{0x02, 0x01, 0x09, 0x17}, 1)
	pemOf := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: good}) }
	tests := []struct {
		name  string
		data  []byte
		is    error // nil: any
		words string
	}{
		{"empty", nil, nil, "neither"},
		{"wrong signer", other.crl(t, list{}), revocation.ErrIssuer, "no CA certificate of that name"},
		{"same subject, other key", twin.crl(t, list{}), revocation.ErrIssuer, "signed by key"},
		{"same subject, other key, no key identifier", twin.byHand(t, dates), revocation.ErrIssuer, "verif"},
		{"issuer may not sign lists", noSign.byHand(t, dates), revocation.ErrIssuer, ""},
		{"signature flipped", flipped, revocation.ErrIssuer, ""},
		{"entry changed", renumbered, revocation.ErrIssuer, ""},
		{"cut off", good[:len(good)-20], nil, "cut off"},
		{"trailing byte", append(bytes.Clone(good), 0), nil, "cut off"},
		{"something after the signature", func() []byte {
			var list cryptobyte.String
			in := cryptobyte.String(good)
			in.ReadASN1(&list, cbasn1.SEQUENCE)
			var b cryptobyte.Builder
			seq(func(b *cryptobyte.Builder) { b.AddBytes(list) }, integer(1))(&b)
			return b.BytesOrPanic()
		}(), nil, "malformed"},
		{"two in one file", append(pemOf("X509 CRL"), pemOf("X509 CRL")...), nil, "follows"},
		{"PEM of another type", pemOf("CERTIFICATE"), nil, "PEM of type"},
		{"PEM cut off", pemOf("X509 CRL")[:150], nil, "neither"},
		{"begins in the future", ca.crl(t, list{this: now.Add(10 * time.Minute)}), nil, "future"},
		{"no next update", ca.byHand(t, utc(now)), nil, "nextUpdate"},
		{"ends before it begins", ca.byHand(t, utc(now), utc(now.Add(-time.Hour))), nil, "before it begins"},
		{"delta", ca.crl(t, list{extra: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}}), revocation.ErrUnsupported, "delta"},
		{"indirect", idp(0x84, 1, 0xff), revocation.ErrUnsupported, "indirect"},
		{"some reasons", idp(0x83, 2, 1, 2), revocation.ErrUnsupported, "some reasons"},
		{"attribute certificates", idp(0x85, 1, 0xff), revocation.ErrUnsupported, "attribute"},
		{"users only and CAs only", idp(0x81, 1, 0xff, 0x82, 1, 0xff), nil, "both"},
		{"flag that is no boolean", idp(0x81, 1, 0x01), nil, "malformed"},
		{"unknown critical extension", ca.crl(t, list{extra: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}}), revocation.ErrUnsupported, "1.2.3"},
		{"extension twice", ca.byHand(t, dates, extensions(extension(20, false, 2, 1, 1), extension(20, false, 2, 1, 2))), nil, "twice"},
		{"negative number", ca.byHand(t, dates, extensions(extension(20, false, 2, 1, 0xff))), nil, "number"},
		{"number of 21 bytes", ca.byHand(t, dates, extensions(extension(20, false, append([]byte{2, 21}, bytes.Repeat([]byte{1}, 21)...)...))), nil, "number"},
		{"second list of entries", ca.byHand(t, dates, seq(entry([]byte{1})), seq(entry([]byte{2}))), nil, "malformed"},
		{"negative serial", with(entry([]byte{1}), entry([]byte{0xff})), nil, "entry 2: negative"},
		{"21-byte serial", with(entry(bytes.Repeat([]byte{1}, 21))), nil, "21 bytes"},
		{"serial not minimal", with(entry([]byte{0, 1})), nil, "malformed serial"},
		{"empty serial", with(entry(nil)), nil, "malformed serial"},
		{"entry without date", with(seq(integer(1))), nil, "date"},
		{"removeFromCRL", with(entry([]byte{1}, extension(21, false, 0x0a, 1, 8))), nil, "removeFromCRL"},
		{"two reasons", with(entry([]byte{1}, extension(21, false, 0x0a, 1, 1), extension(21, false, 0x0a, 1, 4))), nil, "reason"},
		{"entry of another issuer", with(entry([]byte{1}, extension(29, true, 0x30, 0))), revocation.ErrUnsupported, "another issuer"},
		{"critical entry extension", with(entry([]byte{1}, extension(99, true, 5, 0))), revocation.ErrUnsupported, "critical"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			c, err := revocation.ParseCRL(tc.data, certs(ca, noSign), now)
			if err == nil || c != nil {
				t.Fatalf("list %v, err %v", c, err)
			}
			if tc.is != nil && !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.words) {
				t.Errorf("%v", err)
			}
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("not one line: %q", err)
			}
		})
	}
}

// What the tests above make by hand is taken where it is right.
func TestParseCRLByHand(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	twin := newIssuer(t, "ours", nil, nil)
	c := parse(t, ca.byHand(t, dates, seq(
		entry([]byte{0, 0xff}),
		entry([]byte{3}, extension(21, false, 0x0a, 1, 6), extension(24, false, 0x18, 0)),
		entry([]byte{1}, extension(99, false, 5, 0)), // unsorted, an extension to be passed over
		entry([]byte{3}), // twice
	), extensions(extension(99, false, 5, 0))), time.Now(), twin, ca)
	if c.Len() != 3 || c.Number != nil || c.Issuer != ca.cert {
		t.Errorf("len %d, number %v", c.Len(), c.Number)
	}
	if _, reason, found := c.Lookup(big.NewInt(3)); !found || reason != 6 {
		t.Errorf("reason %d, found %v", reason, found)
	}
	if _, _, found := c.Lookup(big.NewInt(255)); !found {
		t.Error("255 is not on the list")
	}
}

// FuzzParseCRL checks that no bytes make a list that crypto/x509 reads otherwise.
//
// Holds: upstream/crl-bytes
func FuzzParseCRL(f *testing.F) {
	ca := newIssuer(f, "ours", nil, nil)
	f.Add(ca.crl(f, list{serials: numbers(1, 2)}))
	f.Add(ca.byHand(f, dates, seq(entry([]byte{1}, extension(21, false, 0x0a, 1, 1)))))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: ca.crl(f, list{})}))
	now := time.Now()
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := revocation.ParseCRL(data, certs(ca), now)
		if c == nil && err == nil || c != nil && err != nil && !errors.Is(err, revocation.ErrStale) {
			t.Fatalf("list %v, err %v", c, err)
		}
		if c == nil {
			return
		}
		theirs, err := x509.ParseRevocationList(data) // DER that we take, they take
		if err == nil && len(theirs.RevokedCertificateEntries) < c.Len() {
			t.Fatalf("%d entries, not %d", c.Len(), len(theirs.RevokedCertificateEntries))
		}
	})
}
