package inspect

import (
	"bytes"
	"crypto/x509"
	"errors"
	"time"

	"github.com/sangate/sangate/pki"
)

// A Code names a problem. The values are a closed set.
type Code string

// The problems PEM finds.
const (
	Expired           Code = "expired"
	NotYetValid       Code = "not_yet_valid"
	ExpiresSoon       Code = "expires_soon" // less than a third of its life left
	WrongUsage        Code = "wrong_usage"
	CAAsLeaf          Code = "ca_as_leaf"
	SANMissing        Code = "san_missing"
	SANInvalid        Code = "san_invalid"
	WeakKey           Code = "weak_key"
	WeakSignature     Code = "weak_signature"
	ChainBroken       Code = "chain_broken"
	PrivateKeyInInput Code = "private_key_in_input"
)

var messages = map[Code]string{
	Expired:           "The certificate is past its notAfter; renew it.",
	NotYetValid:       "The certificate is before its notBefore; check the clock here and at the CA.",
	ExpiresSoon:       "Less than a third of the certificate's life is left; it should have been renewed by now.",
	WrongUsage:        "The certificate is not for a client: it needs the extended key usage clientAuth and must not sign certificates.",
	CAAsLeaf:          "The first certificate is a CA's: it belongs into a trust bundle and cannot be a client's own.",
	SANMissing:        "The certificate has no URI, DNS, e-mail or IP name (SAN), and the common name is never read.",
	SANInvalid:        "A name (SAN) of the certificate is outside the strict rules",
	WeakKey:           "The key is weak or of an unknown kind; use ECDSA P-256, Ed25519, or RSA of 2048 bits or more.",
	WeakSignature:     "The signature uses SHA-1, MD5 or something unknown; have it issued anew with SHA-256 or better.",
	ChainBroken:       "The next certificate in the input did not sign this one; put each one's issuer right after it.",
	PrivateKeyInInput: "The input holds a private key, which is not needed here; if this was not your own machine, replace the key.",
}

// A Problem is something about a certificate that stands in its way. Message is
// one sentence that says what to do.
type Problem struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// maxKeyBits bounds the keys that signatures are checked with, as crypto/tls
// does: the time it takes grows with the square.
const maxKeyBits = 8192

func problem(code Code) Problem { return Problem{Code: code, Message: messages[code]} }

// problems looks at cert as a client's leaf, if it is no CA's, and at next, the
// one after it in the input, as its issuer.
func problems(cert, next *x509.Certificate, first bool, now time.Time) []Problem {
	found := []Problem{}
	add := func(code Code) { found = append(found, problem(code)) }
	switch life := cert.NotAfter.Sub(cert.NotBefore); {
	case now.After(cert.NotAfter):
		add(Expired)
	case now.Before(cert.NotBefore):
		add(NotYetValid)
	case cert.NotAfter.Sub(now) < life/3:
		add(ExpiresSoon)
	}
	switch {
	case !cert.IsCA:
		if wrongUsage(cert) {
			add(WrongUsage)
		}
		if p, bad := nameProblem(cert); bad {
			found = append(found, p)
		}
	case first:
		add(CAAsLeaf)
	}
	if weakKey(cert) {
		add(WeakKey)
	}
	if weakSignature(cert) {
		add(WeakSignature)
	}
	if next != nil && !signedBy(cert, cert) && !signedBy(cert, next) {
		add(ChainBroken)
	}
	return found
}

func wrongUsage(cert *x509.Certificate) bool {
	refused, ok := errors.AsType[*pki.RefusedError](pki.CheckLeaf(cert))
	return ok && refused.Reason == pki.WrongUsage
}

func nameProblem(cert *x509.Certificate) (Problem, bool) {
	_, err := pki.ParseIdentity(cert)
	refused, ok := errors.AsType[*pki.RefusedError](err)
	switch {
	case !ok:
		return Problem{}, false
	case refused.Reason == pki.SANMissing:
		return problem(SANMissing), true
	}
	p := problem(SANInvalid)
	p.Message += ": " + printable(refused.Detail) + "."
	return p, true
}

func weakKey(cert *x509.Certificate) bool {
	switch key := readKey(cert); key.Algorithm {
	case "RSA":
		return key.Size < 2048
	case "ECDSA":
		return key.Size < 256
	case "Ed25519":
		return false
	}
	return true
}

// weakSignature passes over a root's own: nothing is believed by it.
func weakSignature(cert *x509.Certificate) bool {
	switch cert.SignatureAlgorithm {
	case x509.UnknownSignatureAlgorithm, x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1,
		x509.DSAWithSHA256, x509.ECDSAWithSHA1:
		return !cert.IsCA || !bytes.Equal(cert.RawSubject, cert.RawIssuer)
	}
	return false
}

// signedBy reports whether issuer's key signed cert. A signature too weak to be
// checked counts by the names: it is a problem of its own.
func signedBy(cert, issuer *x509.Certificate) bool {
	switch {
	case !bytes.Equal(cert.RawIssuer, issuer.RawSubject):
		return false
	case weakSignature(cert):
		return issuer.IsCA
	case readKey(issuer).Size > maxKeyBits:
		return false
	}
	if cert == issuer {
		return issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
	}
	return cert.CheckSignatureFrom(issuer) == nil
}
