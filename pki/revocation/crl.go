package revocation

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Bounds of one list.
const (
	MaxCRLBytes    = 128 << 20 // as it comes, DER or PEM
	MaxHeaderBytes = 64 << 10  // of the answer that brings it
	MaxCRLEntries  = 5_000_000
)

// clockSkew is how far ahead of our clock an issuer's may be.
const clockSkew = 5 * time.Minute

// Errors of ParseCRL that callers branch on.
var (
	// ErrStale reports a list past its nextUpdate. It comes with the list.
	ErrStale = errors.New("the list is past its next update")
	// ErrIssuer reports a list that none of the issuers signed.
	ErrIssuer = errors.New("not signed by a known issuer")
	// ErrUnsupported reports a kind of list that would be misread as a full
	// one: delta, indirect, for some reasons, for attribute certificates, or
	// with a critical extension nobody knows here.
	ErrUnsupported = errors.New("unsupported kind of list")
)

// A CRL is one verified list: complete, of one issuer, for all reasons. It is
// immutable and keeps nothing of the bytes it was read from.
type CRL struct {
	Issuer     *x509.Certificate // whose key signed it
	Number     *big.Int          // nil where it has none
	ThisUpdate time.Time
	NextUpdate time.Time
	Name       string   // the file or URL it was read from, where a Source did
	Points     []string // URIs of its distribution point, if it names one

	id       listKey
	sum      [sha256.Size]byte // of the bytes it came in, where a Source read it
	outdated bool              // a newer one was in force
	scope    scope
	names    []pointName // of its distribution point; empty: it is about all of its kind
	wide     bool        // its point says nothing that a certificate would have to name
	entries  table[serial, revoked]
}

// A scope says which certificates of the issuer a list is about.
type scope struct {
	point              string // distribution point, DER
	userOnly, authOnly bool
}

// A listKey says whose list it is and about what: of two lists with the same one, the
// newer counts, and otherwise both.
type listKey struct {
	issuer issuerKey
	scope  [sha256.Size]byte
}

func (s scope) hash() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%t %t %s", s.userOnly, s.authOnly, s.point))
}

// A revoked is what a list says of one serial number.
type revoked struct {
	at     uint32 // Unix seconds, held to what fits
	reason uint8  // CRLReason (RFC 5280, 5.3.1)
}

// Len returns the number of certificates on the list.
func (c *CRL) Len() int { return len(c.entries.records) }

// Lookup tells whether and since when the serial number is on the list, and the
// CRLReason code (RFC 5280, 5.3.1).
func (c *CRL) Lookup(number *big.Int) (at time.Time, reason int, found bool) {
	s, ok := serialOf(number)
	if !ok {
		return time.Time{}, 0, false
	}
	entry, found := c.entries.find(s)
	if !found {
		return time.Time{}, 0, false
	}
	return time.Unix(int64(entry.at), 0).UTC(), int(entry.reason), true
}

// covers tells whether the list speaks of certificates of that kind.
func (c *CRL) covers(ca bool) bool {
	return !(ca && c.scope.userOnly) && !(!ca && c.scope.authOnly)
}

// replaces reports why c must not take the place of held, a list of the same issuer and
// scope: going back to an older one would un-revoke.
func (c *CRL) replaces(held *CRL) error {
	if c.ThisUpdate.Before(held.ThisUpdate) {
		return fmt.Errorf("it is older than the list held: this update %s before %s", stamp(c.ThisUpdate), stamp(held.ThisUpdate))
	}
	if held.Number == nil {
		return nil
	}
	if c.Number == nil {
		return errors.New("it has no number, and the list held has number " + held.Number.String())
	}
	if c.Number.Cmp(held.Number) < 0 {
		return errors.New("its number " + c.Number.String() + " is lower than " + held.Number.String() + " of the list held")
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// An issuerKey stands for the name and key that sign certificates and lists; it
// outlives a renewed CA certificate.
type issuerKey [sha256.Size]byte

func issuerKeyOf(ca *x509.Certificate) (k issuerKey) {
	h := sha256.New()
	h.Write(ca.RawSubject) // DER, so it tells its own length
	h.Write(ca.RawSubjectPublicKeyInfo)
	h.Sum(k[:0])
	return k
}
