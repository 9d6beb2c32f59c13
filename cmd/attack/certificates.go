package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// certificateCases are strangers who send certificates that nobody trusts, or
// that cost more to read, verify, describe or log than to send. A handshake's
// certificate message can have 256 KiB.
func certificateCases() []kase {
	edited := func(name string, edit func(*x509.Certificate)) kase {
		return certificateCase(name, func(string) (*tls.Certificate, error) { return stranger(edit) })
	}
	return []kase{
		edited("self-signed", func(*x509.Certificate) {}),
		edited("20000-attributes", func(c *x509.Certificate) { c.RawSubject = attributes(20_000, "a", false) }),
		edited("one-rdn-of-20000-attributes", func(c *x509.Certificate) { c.RawSubject = attributes(20_000, "a", true) }),
		edited("name-125000-bytes", func(c *x509.Certificate) { c.RawSubject = attributes(1, strings.Repeat("x", 125_000), false) }),
		edited("name-of-control-bytes", func(c *x509.Certificate) { c.RawSubject = attributes(1, strings.Repeat("\x00\n\"\\", 25_000), false) }),
		edited("125-attributes-of-1000-bytes", func(c *x509.Certificate) { c.RawSubject = attributes(125, strings.Repeat("y", 1000), false) }),
		certificateCase("issuer-of-20000-attributes", fatIssuer),
		edited("20000-dns-names", func(c *x509.Certificate) { c.DNSNames = many(20_000, "a%05d.b") }),
		edited("20000-uris", func(c *x509.Certificate) {
			for i := range 12_000 {
				c.URIs = append(c.URIs, &url.URL{Scheme: "a", Host: "b", Path: fmt.Sprintf("/%d", i)})
			}
		}),
		edited("20000-emails", func(c *x509.Certificate) { c.EmailAddresses = many(18_000, "%05d@b.c") }),
		edited("one-uri-200000-bytes", func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "b", Path: "/" + strings.Repeat("p/", 100_000)}}
		}),
		edited("20000-extensions", func(c *x509.Certificate) {
			for i := range 11_000 {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, i + 1}, Value: []byte{5, 0}})
			}
		}),
		edited("20000-key-usages", func(c *x509.Certificate) {
			for i := range 20_000 {
				c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, asn1.ObjectIdentifier{1, 2, 3, i})
			}
		}),
		edited("20000-policies", func(c *x509.Certificate) {
			for i := range 14_000 {
				oid, err := x509.OIDFromInts([]uint64{1, 2, 3, uint64(i)})
				if err == nil {
					c.Policies = append(c.Policies, oid)
				}
			}
		}),
		edited("11000-name-constraints", func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid = true, true
			c.PermittedDNSDomains, c.ExcludedDNSDomains = many(6_000, "p%05d.example"), many(5_000, "x%05d.example")
			c.DNSNames = many(1_000, "h%05d.example")
		}),
		edited("expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }),
		certificateCase("expired-of-our-ca", expiredOfOurs),
		certificateCase("wrong-ca", wrongCA),
		certificateCase("rsa-1024", rsaOf(1024)),
		certificateCase("rsa-3072-leaf", rsaOf(3072)),
		certificateCase("unknown-key-algorithm", garbageKey),
		certificateCase("intermediate-named-by-120000-bytes", impostor(attributes(1, strings.Repeat("\n", 120_000), false))),
		certificateCase("intermediate-of-9000-attributes", impostor(attributes(9_000, "a", false))),
		certificateCase("1000-certificates", thousand),
		certificateCase("36-cross-signed-p521", func(string) (*tls.Certificate, error) { return mesh(6, elliptic.P521()) }),
		certificateCase("100-cross-signed-p256", func(string) (*tls.Certificate, error) { return mesh(10, elliptic.P256()) }),
		certificateCase("name-constraints-mesh", constrainedMesh),
		certificateCase("two-of-one-key-p521", twins),
		{name: "stranger/no-certificate", unit: "handshake", units: 200, rate: 100, bounds: handshakeBounds,
			attack: func(ctx context.Context, a *arena) error { return a.handshakes(ctx, nil) }},
		{name: "stranger/1000-refusals-a-second", unit: "handshake", units: 1000, rate: 400, bounds: logBounds(1_000),
			attack: func(ctx context.Context, a *arena) error {
				cert, err := stranger(func(*x509.Certificate) {})
				if err != nil {
					return err
				}
				return a.handshakes(ctx, cert)
			}},
	}
}

// logBounds are handshakeBounds with less log: repeated lines are summarised.
func logBounds(perUnit float64) bounds {
	b := handshakeBounds
	b.log = perUnit
	return b
}

func certificateCase(name string, build func(dir string) (*tls.Certificate, error)) kase {
	return kase{name: "stranger/" + name, unit: "handshake", units: 40, rate: 20, bounds: handshakeBounds,
		attack: func(ctx context.Context, a *arena) error {
			cert, err := build(a.Dir)
			if err != nil {
				return err
			}
			return a.handshakes(ctx, cert)
		}}
}

// handshakes does one after the other with cert, which may be nil.
func (a *arena) handshakes(ctx context.Context, cert *tls.Certificate) error {
	if cert == nil {
		cert = &tls.Certificate{}
	}
	config := &tls.Config{InsecureSkipVerify: true, // the attacker does not care
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }}
	return a.each(ctx, func(ctx context.Context) { a.handshake(ctx, config) })
}

// stranger makes a self-signed certificate.
func stranger(edit func(*x509.Certificate)) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := template("stranger")
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	edit(c)
	return made(c, template("stranger"), key, key)
}

// fatIssuer names an issuer of 20,000 attributes.
func fatIssuer(string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	issuer := template("")
	issuer.RawSubject = attributes(20_000, "a", false)
	return made(template("stranger"), issuer, key, key)
}

// made makes a certificate; it need not be one that can be parsed.
func made(c, parent *x509.Certificate, key, by crypto.Signer) (*tls.Certificate, error) {
	if len(c.RawSubject) == 0 {
		raw, err := asn1.Marshal(c.Subject.ToRDNSequence())
		if err != nil {
			return nil, err
		}
		c.RawSubject = raw
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// attributes returns a name of n common names, each in a set of its own, or all
// in one.
func attributes(n int, value string, oneSet bool) []byte {
	type attribute struct {
		Type  asn1.ObjectIdentifier
		Value string `asn1:"utf8"`
	}
	one, err := asn1.Marshal(attribute{asn1.ObjectIdentifier{2, 5, 4, 3}, value})
	if err != nil {
		panic(err) // the arguments are in this file
	}
	wrap := func(tag int, b []byte) []byte {
		out, err := asn1.Marshal(asn1.RawValue{Tag: tag, IsCompound: true, Bytes: b})
		if err != nil {
			panic(err) // as above
		}
		return out
	}
	if oneSet {
		return wrap(asn1.TagSequence, wrap(asn1.TagSet, []byte(strings.Repeat(string(one), n))))
	}
	return wrap(asn1.TagSequence, []byte(strings.Repeat(string(wrap(asn1.TagSet, one)), n)))
}

func many(n int, format string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return all
}

func wrongCA(string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := template("attack root") // the name of the real one
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	return made(template("stranger"), ca, key, key)
}

func expiredOfOurs(dir string) (*tls.Certificate, error) {
	ca, err := tls.LoadX509KeyPair(filepath.Join(dir, "root.crt"), filepath.Join(dir, "root.key"))
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := template("late")
	c.NotAfter, c.ExtKeyUsage = time.Now().Add(-time.Second), []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return made(c, ca.Leaf, key, ca.PrivateKey.(crypto.Signer))
}

func rsaOf(bits int) func(string) (*tls.Certificate, error) {
	return func(string) (*tls.Certificate, error) {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		c := template("rsa")
		return made(c, c, key, key)
	}
}

// garbageKey is a certificate whose key no one knows the algorithm of.
func garbageKey(string) (*tls.Certificate, error) {
	cert, err := stranger(func(*x509.Certificate) {})
	if err != nil {
		return nil, err
	}
	oid := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01} // id-ecPublicKey
	der := []byte(strings.Replace(string(cert.Certificate[0]), string(oid), string(append(oid[:6:6], 0x7f)), 1))
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: cert.PrivateKey}, nil
}

// thousand sends as many small certificates as fit.
func thousand(string) (*tls.Certificate, error) {
	cert, err := stranger(func(*x509.Certificate) {})
	if err != nil {
		return nil, err
	}
	for range min(1000, 200_000/len(cert.Certificate[0])) {
		cert.Certificate = append(cert.Certificate, cert.Certificate[0])
	}
	return cert, nil
}
