package material

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// ErrCutOff reports a certificate file that seems cut off between two
// certificates, as while it is being written: it reads as whole, but clients
// that know the root alone could not verify what it holds.
var ErrCutOff = errors.New("the certificate file comes without issuers that the one in force has: write them below the leaf, or restart to show it as it is")

// cutOff compares the chain of a file with the one in force.
func cutOff(inForce, next *tls.Certificate) error {
	if len(inForce.Certificate) > 1 && len(next.Certificate) == 1 {
		return ErrCutOff
	}
	last, err := x509.ParseCertificate(next.Certificate[len(next.Certificate)-1])
	if err != nil {
		return err
	}
	for _, der := range inForce.Certificate[1:] {
		issuer, err := x509.ParseCertificate(der)
		if err == nil && bytes.Equal(issuer.RawSubject, last.RawIssuer) && !bytes.Equal(issuer.RawSubject, last.RawSubject) {
			return ErrCutOff
		}
	}
	return nil
}
