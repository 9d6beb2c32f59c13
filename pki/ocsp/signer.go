package ocsp

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// checkSigner says whether resp was signed by issuer or by one that issuer
// certified for it, and when the latter's certificate ends.
func (o *Options) checkSigner(resp *ocsp.Response, issuer *x509.Certificate, now time.Time) (end time.Time, err error) {
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

// checkAlgorithm refuses what is signed with a hash function that is no longer
// safe, before anything is computed with it. What is no answer it leaves to
// others.
func checkAlgorithm(der []byte) error {
	var answer struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type asn1.ObjectIdentifier
			Data []byte
		} `asn1:"explicit,tag:0,optional"`
	}
	var signed struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
	}
	if _, err := asn1.Unmarshal(der, &answer); err != nil || len(answer.Bytes.Data) == 0 {
		return nil
	}
	if _, err := asn1.Unmarshal(answer.Bytes.Data, &signed); err != nil {
		return errors.New("the OCSP answer is not well formed")
	}
	switch oid := signed.Algorithm.Algorithm.String(); oid {
	case "1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13", // RSA PKCS #1 v1.5
		"1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4": // ECDSA
		return nil
	default:
		return fmt.Errorf("the OCSP answer is signed with %s, not with RSA or ECDSA and SHA-256, SHA-384 or SHA-512", clip(oid))
	}
}
