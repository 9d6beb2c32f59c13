package pki

import (
	"crypto/x509"
	"time"
)

// A Revocation tells whose certificate was taken back. It is immutable: what is
// known of revocation is part of the snapshot. pki/revocation has one.
type Revocation interface {
	// Prepare does, once for a verified chain (leaf first) and the leaf's
	// names, what of the work does not depend on what was revoked.
	Prepare(chain []*x509.Certificate, names []SAN) (prepared any)
	// Check answers for what Prepare returned: [Revoked] or
	// [RevocationUnknown] with a detail for the log, or nothing. It does no
	// I/O and, where the answer is nothing, does not allocate.
	Check(prepared any, now time.Time) (reason Reason, detail string)
}

// checkRevoked is the handshake's look at revocation.
func (s *Snapshot) checkRevoked(verified [][]*x509.Certificate, now time.Time) error {
	if s.Revocation == nil {
		return nil
	}
	chain := longest(verified)
	id, _ := ParseIdentity(chain[0]) // names that are unusable are refused at the request
	if reason, detail := s.Revocation.Check(s.Revocation.Prepare(chain, id.SANs), now); reason != "" {
		return refuse(reason, detail)
	}
	return nil
}

// longest returns the chain that is valid longest, of those that are short
// enough; nil where there is none.
func longest(chains [][]*x509.Certificate) (best []*x509.Certificate) {
	var end time.Time
	for _, chain := range chains {
		if len(chain) > maxChain {
			continue
		}
		if _, notAfter := validity(chain); best == nil || notAfter.After(end) {
			best, end = chain, notAfter
		}
	}
	return best
}

// validity returns when all of a chain is valid.
func validity(chain []*x509.Certificate) (notBefore, notAfter time.Time) {
	notBefore, notAfter = chain[0].NotBefore, chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotBefore.After(notBefore) {
			notBefore = c.NotBefore
		}
		if c.NotAfter.Before(notAfter) {
			notAfter = c.NotAfter
		}
	}
	return notBefore, notAfter
}
