package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
)

// mesh has n authorities of one name sign each other, so that the number of
// chains is n!, none of which ends at a root.
func mesh(n int, curve elliptic.Curve) (*tls.Certificate, error) {
	return meshOf(n, curve, func(*x509.Certificate) {})
}

// constrainedMesh has names and name constraints in each chain, too.
func constrainedMesh(string) (*tls.Certificate, error) {
	return meshOf(5, elliptic.P256(), func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.DNSNames = many(200, "p%05d.example"), many(100, "h%05d.example")
	})
}

func meshOf(n int, curve elliptic.Curve, edit func(*x509.Certificate)) (*tls.Certificate, error) {
	keys := make([]*ecdsa.PrivateKey, n)
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			return nil, err
		}
	}
	authority := func() *x509.Certificate {
		c := template("mesh")
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		edit(c)
		return c
	}
	cert, err := made(template("stranger"), authority(), keys[0], keys[0])
	if err != nil {
		return nil, err
	}
	for _, subject := range keys {
		for _, by := range keys {
			c, err := made(authority(), authority(), subject, by)
			if err != nil {
				return nil, err
			}
			cert.Certificate = append(cert.Certificate, c.Certificate[0])
		}
	}
	return cert, nil
}

// impostor sends a leaf below an intermediate of the issuer's name but not of its
// key: crypto/x509 names the intermediate in its error.
func impostor(name []byte) func(string) (*tls.Certificate, error) {
	return func(string) (*tls.Certificate, error) {
		var keys [2]*ecdsa.PrivateKey
		for i := range keys {
			var err error
			if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
				return nil, err
			}
		}
		ca := template("")
		ca.RawSubject = name
		ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
		leaf := template("stranger")
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		cert, err := made(leaf, ca, keys[0], keys[0])
		if err != nil {
			return nil, err
		}
		authority, err := made(ca, template("above"), keys[1], keys[0])
		if err != nil {
			return nil, err
		}
		cert.Certificate = append(cert.Certificate, authority.Certificate[0])
		return cert, nil
	}
}

// twins sends two authorities of one name and key, of which one has a SAN: crypto/x509
// takes them for different ones, in turn, until it has checked 100 signatures.
func twins(string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		return nil, err
	}
	authority := func(names ...string) *x509.Certificate {
		c := template("twin")
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.DNSNames = true, true, x509.KeyUsageCertSign, names
		return c
	}
	cert, err := made(template("stranger"), authority(), key, key)
	if err != nil {
		return nil, err
	}
	for _, c := range []*x509.Certificate{authority("a.example"), authority()} {
		twin, err := made(c, c, key, key)
		if err != nil {
			return nil, err
		}
		cert.Certificate = append(cert.Certificate, twin.Certificate[0])
	}
	return cert, nil
}
