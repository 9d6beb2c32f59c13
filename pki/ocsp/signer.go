package ocsp

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// checkSigner says whether resp was signed by issuer or by one that issuer
// certified for it, and when the latter's certificate ends.
func (o *Options) checkSigner(resp *ocsp.Response, issuer *x509.Certificate, now time.Time) (end time.Time, err error) {
	if weak(resp.SignatureAlgorithm) {
		return end, fmt.Errorf("the OCSP answer is signed with %s", resp.SignatureAlgorithm)
	}
	by := resp.Certificate
	if by == nil || bytes.Equal(by.RawSubjectPublicKeyInfo, issuer.RawSubjectPublicKeyInfo) {
		// Some responders enclose the issuer's own certificate: its key is what counts.
		if err := resp.CheckSignatureFrom(issuer); err != nil {
			return end, fmt.Errorf("the OCSP answer is not signed by the certificate's issuer: %w", err)
		}
		return end, nil
	}
	if err := checkDelegate(by, issuer, now); err != nil {
		return end, fmt.Errorf("the OCSP responder's certificate %q: %w", clip(by.Subject.String()), err)
	}
	if o.CheckDelegate != nil {
		if err := o.CheckDelegate([]*x509.Certificate{by, issuer}); err != nil {
			return end, fmt.Errorf("the OCSP responder's certificate %q: %w", clip(by.Subject.String()), err)
		}
	}
	return by.NotAfter, nil
}

// checkDelegate is RFC 6960, 4.2.2.2: issued directly by issuer, for signing
// OCSP answers, and valid now.
func checkDelegate(by, issuer *x509.Certificate, now time.Time) error {
	switch {
	case !bytes.Equal(by.RawIssuer, issuer.RawSubject):
		return errors.New("another CA than the certificate's issuer issued it")
	case !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("it is not one for signing OCSP answers (id-kp-OCSPSigning)")
	case by.KeyUsage != 0 && by.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("its key usage does not let it sign answers")
	case len(by.UnhandledCriticalExtensions) > 0:
		return errors.New("it has an unknown critical extension")
	case now.Before(by.NotBefore):
		return fmt.Errorf("it is valid from %s", stamp(by.NotBefore))
	case now.After(by.NotAfter):
		return fmt.Errorf("it ended at %s", stamp(by.NotAfter))
	}
	if err := by.CheckSignatureFrom(issuer); err != nil { // refuses SHA-1 as well
		return fmt.Errorf("another CA than the certificate's issuer issued it: %w", err)
	}
	return nil
}

func weak(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return true
	}
	return false
}
