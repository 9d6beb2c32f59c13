package revocation_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sangate/sangate/pki/revocation"
)

// tagged writes a constructed or primitive element with a context-specific tag.
func tagged(tag uint8, constructed bool, fields ...field) field {
	return func(b *cryptobyte.Builder) {
		of := cbasn1.Tag(tag).ContextSpecific()
		if constructed {
			of = of.Constructed()
		}
		b.AddASN1(of, func(b *cryptobyte.Builder) {
			for _, f := range fields {
				f(b)
			}
		})
	}
}

func raw(data string) field { return func(b *cryptobyte.Builder) { b.AddBytes([]byte(data)) } }

func uri(address string) field { return tagged(6, false, raw(address)) }

func directory(dn []byte) field { return tagged(4, true, raw(string(dn))) }

// fullName and relativeName are distribution points as lists and certificates name them.
func fullName(names ...field) field { return tagged(0, true, tagged(0, true, names...)) }

func relativeName(cn string) field {
	return tagged(0, true, tagged(1, true, commonName(cn)))
}

func commonName(cn string) field {
	return seq(func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{2, 5, 4, 3}) },
		func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(cn)) })
		})
}

func der(f field) []byte {
	var b cryptobyte.Builder
	f(&b)
	return b.BytesOrPanic()
}

var (
	usersOnly = tagged(1, false, raw("\xff"))
	casOnly   = tagged(2, false, raw("\xff"))
)

// scoped is the extension of a list about part of the certificates.
func scoped(fields ...field) []pkix.Extension {
	return []pkix.Extension{{Id: idpOID, Critical: true, Value: der(seq(fields...))}}
}

var (
	cdpOID      = asn1.ObjectIdentifier{2, 5, 29, 31}
	freshestOID = asn1.ObjectIdentifier{2, 5, 29, 46}
)

// leafAt returns a certificate with those distribution points, each a sequence of fields.
func (ca *issuer) leafAt(t testing.TB, number int64, points ...field) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(number), NotBefore: time.Unix(0, 0), NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)}
	if points != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: cdpOID, Value: der(seq(points...))}}
	}
	return certify(t, template, newKey(t), ca)
}

// TestScopes checks which lists of a CA that splits its list answer for a certificate in hard mode (RFC 5280, 6.3.3).
//
// Holds: authority/split-list
func TestScopes(t *testing.T) {
	ca := newIssuer(t, "ca", nil, nil)
	other := newIssuer(t, "other", nil, nil)
	now := time.Now()
	on := func(l list, idp ...field) *revocation.CRL {
		t.Helper()
		if idp != nil {
			l.extra = scoped(idp...)
		}
		if l.this.IsZero() {
			return parse(t, ca.crl(t, l), now, ca)
		}
		return parse(t, ca.crl(t, l), l.this, ca) // past its end by now
	}
	full := on(list{})
	partA, partB := on(list{}, fullName(uri("http://ca/a"))), on(list{}, fullName(uri("http://ca/b")))
	staleA := list{this: now.Add(-2 * time.Hour), next: now.Add(-time.Hour)}
	staleB := on(staleA, fullName(uri("http://ca/b")))
	point := func(fields ...field) field { return seq(fields...) }
	pointA, pointB := point(fullName(uri("http://ca/a"))), point(fullName(uri("http://ca/b")))
	keyCompromise, rest := tagged(1, false, raw("\x06\x40")), tagged(1, false, raw("\x07\x3f\x80"))
	ldap := "ldap:///CN=ca,O=x?certificateRevocationList;binary"
	relative := func(b *cryptobyte.Builder) { // the same name in full
		var rdns cryptobyte.String
		in := cryptobyte.String(ca.cert.RawSubject)
		in.ReadASN1(&rdns, cbasn1.SEQUENCE)
		directory(der(seq(raw(string(rdns)), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { commonName("part 1")(b) })
		})))(b)
	}
	const good, unknown, bad = revocation.Good, revocation.Unknown, revocation.Revoked
	crls := func(lists ...*revocation.CRL) []*revocation.CRL { return lists }
	no := revocation.SetOptions{}
	missing := revocation.SetOptions{Missing: []string{"http://ca/b"}}
	tests := []struct {
		name   string
		lists  []*revocation.CRL
		opts   revocation.SetOptions
		points []field
		want   revocation.Status
		words  string
	}{
		{"its part is held", crls(partA), missing, []field{pointA}, good, ""},
		{"its part is missing", crls(partA), missing, []field{pointB}, unknown, `"http://ca/b"`},
		{"its part is missing, all configured are held", crls(partA), no, []field{pointB}, unknown, `"http://ca/b"`},
		{"its part has ended, the other is current", crls(partA, staleB), no, []field{pointB}, unknown, "next update"},
		{"the other part has ended", crls(partA, staleB), no, []field{pointA}, good, ""},
		{"one of two points", crls(partA), no, []field{pointB, pointA}, good, ""},
		{"two names of one point", crls(partA), no, []field{point(fullName(uri("ldap://x"), uri("http://ca/a")))}, good, ""},
		{"two names of the list's", crls(on(list{}, fullName(uri("ldap://x"), uri("http://ca/b")))), no, []field{pointB}, good, ""},
		{"a list about all", crls(full), no, []field{pointB}, good, ""},
		{"a list about all, and an ended part", crls(full, staleB), no, []field{pointB}, good, ""},
		{"scheme, host and port", crls(on(list{}, fullName(uri("HTTP://CA:80/a")))), no, []field{pointA}, good, ""},
		{"path in another case", crls(on(list{}, fullName(uri("http://ca/A")))), no, []field{pointA}, unknown, ""},
		{"no path", crls(on(list{}, fullName(uri("http://ca")))), no, []field{point(fullName(uri("http://ca/")))}, good, ""},
		{"LDAP", crls(on(list{}, fullName(uri(ldap)))), no, []field{point(fullName(uri(ldap)))}, good, ""},
		{"directory name", crls(on(list{}, fullName(directory(other.cert.RawSubject)))), no, []field{point(fullName(directory(other.cert.RawSubject)))}, good, ""},
		{"directory name of the issuer", crls(on(list{}, fullName(directory(ca.cert.RawSubject)))), no, []field{pointA}, good, ""},
		{"relative name of the list's, another", crls(on(list{}, relativeName("part 2"))), no, []field{point(fullName(relative))}, unknown, ""},
		// crypto/x509 refuses certificates with relative names.
		{"relative name of the list's", crls(on(list{}, relativeName("part 1"))), no, []field{point(fullName(relative))}, good, ""},
		{"CRL issuer is another", crls(partA), no, []field{point(fullName(uri("http://ca/a")), tagged(2, true, directory(other.cert.RawSubject)))}, unknown, "another"},
		{"CRL issuer is the issuer", crls(partA), no, []field{point(fullName(uri("http://ca/a")), tagged(2, true, directory(ca.cert.RawSubject)))}, good, ""},
		{"CRL issuer alone", crls(partA), no, []field{point(tagged(2, true, directory(other.cert.RawSubject)))}, unknown, "another"},
		{"some reasons", crls(partA), no, []field{point(fullName(uri("http://ca/a")), keyCompromise)}, unknown, "reasons"},
		{"some reasons, the rest elsewhere", crls(partA, partB), no, []field{point(fullName(uri("http://ca/a")), keyCompromise), point(fullName(uri("http://ca/b")), rest)}, good, ""},
		{"some reasons, the rest ended", crls(partA, staleB), no, []field{point(fullName(uri("http://ca/a")), keyCompromise), point(fullName(uri("http://ca/b")), rest)}, unknown, ""},
		{"some reasons, a list about all", crls(full), no, []field{point(fullName(uri("http://ca/a")), keyCompromise)}, good, ""},
		{"no point, one part", crls(partA), no, nil, good, ""},
		{"no point, a list is missing", crls(partA), missing, nil, unknown, "not all lists"},
		{"no point, a part has ended", crls(partA, staleB), no, nil, unknown, "next update"},
		{"no point, a list about all, one is missing", crls(full, staleB), missing, nil, good, ""},
		{"users of its part", crls(on(list{}, fullName(uri("http://ca/a")), usersOnly)), no, []field{pointA}, good, ""},
		{"CAs of its part", crls(on(list{}, fullName(uri("http://ca/a")), casOnly)), no, []field{pointA}, unknown, ""},
		{"revoked in another part", crls(partA, on(list{serials: numbers(7)}, fullName(uri("http://ca/b")))), no, []field{pointA}, bad, "keyCompromise"},
		{"revoked in another part that has ended", crls(partA, on(list{this: staleA.this, next: staleA.next, serials: numbers(7)}, fullName(uri("http://ca/b")))), no, []field{pointA}, bad, ""},
		{"revoked on a list for CAs", crls(partA, on(list{serials: numbers(7)}, casOnly)), no, []field{pointA}, bad, ""},
		{"revoked on a list for CAs, soft", crls(on(list{serials: numbers(7)}, casOnly)), revocation.SetOptions{Mode: revocation.Soft}, nil, bad, ""},
		{"its part is missing, soft", crls(partA), revocation.SetOptions{Mode: revocation.Soft}, []field{pointB}, good, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := revocation.NewSet(tc.lists, nil, tc.opts).CheckChain(ca.chain(ca.leafAt(t, 7, tc.points...)), nil, now)
			if r.Status != tc.want || !strings.Contains(r.Detail(), tc.words) {
				t.Errorf("%v: %s, want %v with %q", r.Status, r.Detail(), tc.want, tc.words)
			}
			if strings.ContainsAny(r.Detail(), "\n\x00") {
				t.Errorf("not one line: %q", r.Detail())
			}
		})
	}
}

// A pointer to delta lists is no distribution point.
func TestFreshestCRLIsNoPoint(t *testing.T) {
	ca := newIssuer(t, "ca", nil, nil)
	cert := certify(t, &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: freshestOID, Value: der(seq(seq(fullName(uri("http://ca/delta")))))}}}, newKey(t), ca)
	part := parse(t, ca.crl(t, list{extra: scoped(fullName(uri("http://ca/a")))}), time.Now(), ca)
	if r := revocation.NewSet([]*revocation.CRL{part}, nil, revocation.SetOptions{}).CheckChain(ca.chain(cert), nil, time.Now()); r.Status != revocation.Good {
		t.Errorf("%v: %s", r.Status, r.Detail())
	}
}

// An intermediate needs a list of its own point if its issuer has lists here, and none if it has not.
func TestPointOfIntermediate(t *testing.T) {
	root := newIssuer(t, "root", nil, nil)
	middle := newIssuer(t, "middle", root, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://root/cas"} })
	leaf := middle.leaf(t, big.NewInt(7))
	now := time.Now()
	clean := parse(t, middle.crl(t, list{}), now, middle)
	part := func(address string) *revocation.CRL {
		return parse(t, root.crl(t, list{extra: scoped(fullName(uri(address)))}), now, root)
	}
	for name, tc := range map[string]struct {
		lists []*revocation.CRL
		want  revocation.Status
	}{
		"no list of the root":    {[]*revocation.CRL{clean}, revocation.Good},
		"its part":               {[]*revocation.CRL{clean, part("http://root/cas")}, revocation.Good},
		"another part":           {[]*revocation.CRL{clean, part("http://root/users")}, revocation.Unknown},
		"another part, and all":  {[]*revocation.CRL{clean, part("http://root/users"), parse(t, root.crl(t, list{}), now, root)}, revocation.Good},
		"its part, not the leaf": {[]*revocation.CRL{part("http://root/cas")}, revocation.Unknown},
	} {
		if r := revocation.NewSet(tc.lists, nil, revocation.SetOptions{}).CheckChain(middle.chain(leaf), nil, now); r.Status != tc.want {
			t.Errorf("%s: %v: %s", name, r.Status, r.Detail())
		}
	}
}

// A point with no name in it is not a list about all.
func TestEmptyPointRefused(t *testing.T) {
	ca := newIssuer(t, "ca", nil, nil)
	for name, idp := range map[string]field{
		"empty point": tagged(0, true), "no names": fullName(), "both forms": tagged(0, true, tagged(0, true, uri("http://a/")), tagged(1, true, commonName("a"))),
		"empty relative name": tagged(0, true, tagged(1, true)), "a name that is cut off": tagged(0, true, tagged(0, true, raw("\x86\x09http"))),
	} {
		c, err := revocation.ParseCRL(ca.crl(t, list{extra: scoped(idp)}), certs(ca), time.Now())
		if err == nil {
			t.Errorf("%s: taken, points %q", name, c.Points)
		}
	}
}

// FuzzCertificatePoints checks that a list of one part clears no certificate that crypto/x509 reads no such point of.
//
// Holds: authority/split-list
func FuzzCertificatePoints(f *testing.F) {
	ca := newIssuer(f, "ca", nil, nil)
	now := time.Now()
	part := parse(f, ca.crl(f, list{extra: scoped(fullName(uri("http://ca/a")))}), now, ca)
	set := revocation.NewSet([]*revocation.CRL{part}, nil, revocation.SetOptions{})
	key := newKey(f)
	for _, points := range [][]field{{seq(fullName(uri("http://ca/a")))}, {seq(fullName(uri("http://ca/b"), directory(ca.cert.RawSubject)))},
		{seq(tagged(2, true, directory(ca.cert.RawSubject))), seq(fullName(uri("http://ca/a")), tagged(1, false, raw("\x07\x7f\x80")))}} {
		f.Add(der(seq(points...)))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			ExtraExtensions: []pkix.Extension{{Id: cdpOID, Value: value}}}
		made, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
		if err != nil {
			return
		}
		cert, err := x509.ParseCertificate(made)
		if err != nil {
			return
		}
		r := set.CheckChain(ca.chain(cert), nil, now)
		named := slices.ContainsFunc(cert.CRLDistributionPoints, func(p string) bool {
			return strings.HasPrefix(strings.ToLower(p), "http://ca") && strings.HasSuffix(p, "/a")
		})
		if r.Status == revocation.Good && !named {
			t.Errorf("good, points %q of %x", cert.CRLDistributionPoints, value)
		}
		if d := r.Detail(); len(d) > 4000 || strings.ContainsAny(d, "\n\x00") {
			t.Errorf("detail %q", d)
		}
	})
}
