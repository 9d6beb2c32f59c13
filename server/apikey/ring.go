package apikey

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"
)

// An Entry is a key as it is stored.
type Entry struct {
	ID        string // the key's own id; a configured key may have any
	Tenant    string
	Digest    [sha256.Size]byte
	NotBefore time.Time // zero: good from the start
	NotAfter  time.Time // zero: good for ever
	RevokedAt time.Time // zero: not revoked
	Source    string    // where it stands: "config" or "store"
}

// A Verdict says what a Ring knows of a key.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota
	OK
	Expired
	NotYetValid
	Revoked
)

// A Ring is an immutable set of keys.
type Ring struct {
	byID     map[string]*Entry
	byDigest map[[sha256.Size]byte]*Entry
	dummy    *Entry
}

// NewRing makes a ring. Two entries of one id or one digest are an error that
// names both.
func NewRing(entries []Entry) (*Ring, error) {
	r := &Ring{
		byID:     make(map[string]*Entry, len(entries)),
		byDigest: make(map[[sha256.Size]byte]*Entry, len(entries)),
		dummy:    &Entry{},
	}
	var errs []error
	for _, e := range entries {
		if other := r.byID[e.ID]; other != nil {
			errs = append(errs, fmt.Errorf("key id %q stands twice: tenant %s (%s) and tenant %s (%s)", e.ID, other.Tenant, other.Source, e.Tenant, e.Source))
			continue
		}
		if other := r.byDigest[e.Digest]; other != nil {
			errs = append(errs, fmt.Errorf("keys %q of tenant %s (%s) and %q of tenant %s (%s) are the same key", other.ID, other.Tenant, other.Source, e.ID, e.Tenant, e.Source))
			continue
		}
		r.byID[e.ID] = &e
		r.byDigest[e.Digest] = &e
	}
	return r, errors.Join(errs...)
}

// Len returns how many keys there are.
func (r *Ring) Len() int { return len(r.byID) }

// Lookup finds the entry of a presented key. The entry is nil where the verdict
// is Unknown. A key is found by the id in it; where that leads nowhere (an
// operator gave it another id, or it comes from another system) by its digest.
// Does not allocate.
func (r *Ring) Lookup(key string, now time.Time) (*Entry, Verdict) {
	digest := Digest(key)
	id, _ := Parse(key)
	found, other := r.byID[id], r.byDigest[digest]
	if found == nil {
		found = other
	}
	if found == nil {
		found = r.dummy
	}
	if subtle.ConstantTimeCompare(found.Digest[:], digest[:]) != 1 || found == r.dummy {
		return nil, Unknown
	}
	switch {
	case !found.RevokedAt.IsZero():
		return found, Revoked
	case !found.NotBefore.IsZero() && now.Before(found.NotBefore):
		return found, NotYetValid
	case !found.NotAfter.IsZero() && !now.Before(found.NotAfter):
		return found, Expired
	}
	return found, OK
}
