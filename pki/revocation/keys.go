package revocation

import (
	"crypto/sha256"
	"crypto/x509"

	"github.com/sangate/sangate/pki"
)

// Keys are what a [Set] looks a client up by: everything about its chain that
// takes hashing, done once a connection. They are immutable.
type Keys struct {
	names []pki.SAN
	certs []certKeys
}

// certKeys are those of one certificate of the chain.
type certKeys struct {
	cert, spki [sha256.Size]byte

	number    serial
	numbered  bool // false: no list can hold a serial number that long
	ca        bool
	points    []certPoint
	issuer    *x509.Certificate // nil at the end of the chain
	issuerKey issuerKey
	issuerIDs [2]keyID // as the issuer and as the certificate itself tells it
}

// A keyID is the SHA-256 of a key identifier, which can have any length.
type keyID [sha256.Size]byte

// An issued is a serial number with its issuer.
type issued struct {
	number serial
	issuer keyID
}

// KeysOf prepares a verified chain, leaf first, with the names of the leaf (which
// may be nil where no rules are kept).
func KeysOf(chain []*x509.Certificate, names []pki.SAN) *Keys {
	k := &Keys{names: names, certs: make([]certKeys, len(chain))}
	for i, cert := range chain {
		c := &k.certs[i]
		c.cert = sha256.Sum256(cert.Raw)
		c.spki = sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		c.number, c.numbered = serialOf(cert.SerialNumber)
		c.ca = cert.BasicConstraintsValid && cert.IsCA
		if i+1 < len(chain) {
			c.points = certPoints(cert)
			c.issuer = chain[i+1]
			c.issuerKey = issuerKeyOf(c.issuer)
			c.issuerIDs = [2]keyID{sha256.Sum256(c.issuer.SubjectKeyId), sha256.Sum256(cert.AuthorityKeyId)}
		}
	}
	return k
}
