package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
)

// Bounds on one certificate that a peer sends, looked at before any signature is.
const (
	maxCertBytes  = 16 << 10
	maxNameBytes  = 4 << 10
	maxAttributes = 32
	maxExtensions = 64
	maxUsages     = 32
	maxLimits     = 32 // name constraints
	maxRSABits    = 8192
)

// maxSearch bounds the work of the search for a chain: the signatures that
// crypto/x509 may check, by [costOf] their issuers. Twice the anchors of one name that
// are tried come on top, so that a bundle with several of them refuses no ordinary
// chain. [maxTime] bounds all of them by the time that they take.
const maxSearch = 10

// A WeakKey is a kind of key that is refused unless it is allowed by name.
type WeakKey string

// The weak kinds that can be allowed. Signatures with MD5, SHA-1 and DSA cannot.
const (
	RSA1024     WeakKey = "rsa1024"     // RSA of 1024 to 2047 bits
	P224        WeakKey = "p224"        // ECDSA on P-224
	RSAExponent WeakKey = "rsaExponent" // RSA with another public exponent than 65537
)

// WeakKeys lists every kind.
func WeakKeys() []WeakKey { return []WeakKey{RSA1024, P224, RSAExponent} }

// Admissible reports what is wrong with a certificate of a client's chain in
// itself: it is too large, or its key or its signature are too weak. The error is
// a [*RefusedError] with [BadCertificate]. It does bounded work.
func Admissible(c *x509.Certificate, allowed []WeakKey) error {
	if err := checkSize(c); err != nil {
		return err
	}
	if err := CheckKey(c, allowed); err != nil {
		return err
	}
	return CheckSignature(c)
}

func checkSize(c *x509.Certificate) error {
	for _, bound := range []struct {
		what     string
		got, max int
	}{
		{"bytes", len(c.Raw), maxCertBytes},
		{"bytes of subject", len(c.RawSubject), maxNameBytes},
		{"bytes of issuer", len(c.RawIssuer), maxNameBytes},
		{"subject attributes", len(c.Subject.Names), maxAttributes},
		{"issuer attributes", len(c.Issuer.Names), maxAttributes},
		{"extensions", len(c.Extensions), maxExtensions},
		{"extended key usages", len(c.ExtKeyUsage) + len(c.UnknownExtKeyUsage), maxUsages},
		{"policies", len(c.Policies) + len(c.PolicyMappings), maxUsages},
		{"names", len(c.URIs) + len(c.DNSNames) + len(c.EmailAddresses) + len(c.IPAddresses), MaxSANs},
		{"name constraints", len(c.PermittedDNSDomains) + len(c.ExcludedDNSDomains) + len(c.PermittedIPRanges) +
			len(c.ExcludedIPRanges) + len(c.PermittedEmailAddresses) + len(c.ExcludedEmailAddresses) +
			len(c.PermittedURIDomains) + len(c.ExcludedURIDomains), maxLimits},
		{"information access URLs", len(c.OCSPServer) + len(c.IssuingCertificateURL) + len(c.CRLDistributionPoints), maxUsages},
	} {
		if bound.got > bound.max {
			return refuse(BadCertificate, fmt.Sprintf("a certificate with %d %s, at most %d are taken", bound.got, bound.what, bound.max))
		}
	}
	return nil
}

// CheckKey refuses a public key outside the accepted set.
func CheckKey(c *x509.Certificate, allowed []WeakKey) error {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		switch {
		case bits > maxRSABits:
			return weak(c, fmt.Sprintf("an RSA key of %d bits, at most %d are taken", bits, maxRSABits))
		case bits < 1024, bits < 2048 && !slices.Contains(allowed, RSA1024):
			return weak(c, fmt.Sprintf("an RSA key of %d bits, at least 2048 are needed", bits))
		case key.E != 65537 && (!slices.Contains(allowed, RSAExponent) || key.E < 3 || key.E > 65537 || key.E%2 == 0):
			return weak(c, fmt.Sprintf("the RSA exponent %d, 65537 is needed", key.E))
		}
		return nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		case elliptic.P224():
			if slices.Contains(allowed, P224) {
				return nil
			}
		}
		return weak(c, "an ECDSA key on "+key.Params().Name+"; P-256, P-384 and P-521 are taken")
	case ed25519.PublicKey:
		return nil
	}
	return weak(c, "a key of the kind "+c.PublicKeyAlgorithm.String()+"; RSA, ECDSA and Ed25519 are taken")
}

// CheckSignature refuses a signature algorithm outside the accepted set.
func CheckSignature(c *x509.Certificate) error {
	switch c.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
		return nil
	}
	return weak(c, "a signature by "+c.SignatureAlgorithm.String()+"; SHA-256, SHA-384, SHA-512 and Ed25519 are taken")
}

func weak(c *x509.Certificate, what string) error {
	return refuse(BadCertificate, fmt.Sprintf("the certificate of %q has %s", NameText(c.Subject), what))
}

// CheckSent bounds what a client sent, at least one certificate, before any of its
// signatures is checked. The error is a [*RefusedError] with [BadCertificate].
func (s *Snapshot) CheckSent(sent []*x509.Certificate) error {
	if len(sent) > MaxChain {
		return refuse(BadCertificate, fmt.Sprintf("chain of more than %d certificates", MaxChain))
	}
	for _, c := range sent {
		if s.Bundle.Holds(c) {
			continue // an anchor: its key is looked at where a chain ends in it
		}
		if err := Admissible(c, s.WeakKeys); err != nil {
			return err
		}
	}
	anchors := s.Bundle.issuersOf(sent)
	left := cost{maxSearch, maxTime}
	for _, c := range sent {
		left.checks = max(left.checks, maxSearch+2*anchors.cost(c.RawIssuer).checks)
	}
	if anchors.search(sent, sent[:1], &left); left.spent() {
		return refuse(BadCertificate, "too many ways to order the certificates into a chain")
	}
	return nil
}

// search takes from left what crypto/x509 may do to find the issuers of the last
// certificate of path, going by the names alone.
func (is *issuers) search(sent, path []*x509.Certificate, left *cost) {
	issuer := path[len(path)-1].RawIssuer
	left.take(is.cost(issuer))
	for _, c := range sent[1:] {
		if left.spent() {
			return
		}
		if string(c.RawSubject) != string(issuer) || is.leavesOut(c) || repeats(path, c) {
			continue
		}
		left.take(issuerCost(c))
		is.search(sent, append(path[:len(path):len(path)], c), left)
	}
}

// repeats reports whether crypto/x509 takes c for one of path. It does if subject, key
// and SAN are the same, but it looks no further at the first of path with the same subject
// and key if only one of the two has a SAN. So c may be in path more than once.
func repeats(path []*x509.Certificate, c *x509.Certificate) bool {
	san, has := sanOf(c)
	for _, in := range path {
		if !bytes.Equal(in.RawSubject, c.RawSubject) || !bytes.Equal(in.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo) {
			continue
		}
		switch inSAN, inHas := sanOf(in); {
		case inHas != has:
			return false
		case bytes.Equal(inSAN, san):
			return true
		}
	}
	return false
}

// sanOf returns the first SAN extension of c.
func sanOf(c *x509.Certificate) (value []byte, ok bool) {
	for _, e := range c.Extensions {
		if e.Id.Equal(oidSAN) {
			return e.Value, true
		}
	}
	return nil, false
}

// costOf is what checking a signature of an issuer counts: 1, or 2 if it is slow.
func costOf(issuer *x509.Certificate) int {
	switch key := issuer.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Params().BitSize > 384 {
			return 2
		}
	case *rsa.PublicKey:
		if key.N.BitLen() > 4096 {
			return 2
		}
	}
	return 1
}

// A weakness is a set of kinds of weak keys, by their place in [WeakKeys].
type weakness uint8

// hopeless is a key or signature that no setting admits.
const hopeless weakness = 1 << 7

func weaknessOf(kinds []WeakKey) (w weakness) {
	for i, kind := range [...]WeakKey{RSA1024, P224, RSAExponent} { // as WeakKeys, which allocates
		if slices.Contains(kinds, kind) {
			w |= 1 << i
		}
	}
	return w
}

// weaknessIn returns what has to be allowed for the keys of a verified chain.
func weaknessIn(chain []*x509.Certificate) (w weakness) {
	if checkKeys(chain, nil) == nil {
		return 0
	}
	all := WeakKeys()
	if checkKeys(chain, all) != nil {
		return hopeless
	}
	for i := range all {
		if checkKeys(chain, slices.Delete(WeakKeys(), i, i+1)) != nil {
			w |= 1 << i
		}
	}
	return w
}

// checkKeys refuses weak keys in a verified chain, anchor included; the
// signature of an anchor proves nothing and is not looked at.
func checkKeys(chain []*x509.Certificate, allowed []WeakKey) error {
	for i, c := range chain {
		if err := CheckKey(c, allowed); err != nil {
			return err
		}
		if i+1 < len(chain) {
			if err := CheckSignature(c); err != nil {
				return err
			}
		}
	}
	return nil
}
