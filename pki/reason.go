package pki

import "errors"

// A Reason names why a handshake or a request was refused. The values are a
// closed set: they are metric labels, log fields and headings of
// docs/reasons.md. The empty Reason means "not refused".
type Reason string

// Reasons a handshake ends, in the order they are looked at.
const (
	NoCertificate     Reason = "no_certificate"     // the client sent none
	Untrusted         Reason = "untrusted"          // no chain to a root of the bundle
	Expired           Reason = "expired"            // the leaf or one of its issuers is past notAfter
	NotYetValid       Reason = "not_yet_valid"      // before notBefore
	WrongUsage        Reason = "wrong_usage"        // no clientAuth, or a CA certificate as leaf
	Revoked           Reason = "revoked"            // by CRL, OCSP or denylist
	RevocationUnknown Reason = "revocation_unknown" // status not to be had, and required
	BadCertificate    Reason = "bad_certificate"    // unreadable, over a bound, or its key not proven
	Protocol          Reason = "protocol"           // not TLS, or no version, suite or group in common
	Timeout           Reason = "timeout"            // not done within the handshake timeout
	Aborted           Reason = "aborted"            // the client went away, or refused our certificate
)

// Reasons the certificate of an open connection is refused at a request.
const (
	CertExpired   Reason = "cert_expired"   // past notAfter since the handshake
	CertRevoked   Reason = "cert_revoked"   // revoked since the handshake
	CertUntrusted Reason = "cert_untrusted" // its root left the bundle since the handshake
	SANInvalid    Reason = "san_invalid"    // a name outside the strict rules
	SANMissing    Reason = "san_missing"    // no URI, DNS, e-mail or IP name at all
)

// HandshakeReasons lists every reason a handshake can end with.
func HandshakeReasons() []Reason {
	return []Reason{NoCertificate, Untrusted, Expired, NotYetValid, WrongUsage, Revoked,
		RevocationUnknown, BadCertificate, Protocol, Timeout, Aborted}
}

// A RefusedError is returned where a certificate is refused. Its text is for
// the operator's log; the peer sees a TLS alert at most.
type RefusedError struct {
	Reason Reason
	Detail string
	Source string // of [Revoked] and [RevocationUnknown]: as in [Finding]
}

func (e *RefusedError) Error() string { return string(e.Reason) + ": " + e.Detail }

func refuse(r Reason, detail string) error { return &RefusedError{Reason: r, Detail: detail} }

// ReasonOf returns the reason an error carries, or otherwise where it has none.
func ReasonOf(err error, otherwise Reason) Reason {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return refused.Reason
	}
	return otherwise
}
