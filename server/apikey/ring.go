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
	Pin       Pin       // the certificates it is good with
}

// A Key is an entry in a ring.
type Key struct {
	Entry
	lock lock
}

// State says what a key is at time now: live, expired, revoked or not yet.
func (e *Entry) State(now time.Time) string {
	switch e.verdict(now) {
	case Revoked:
		return "revoked"
	case NotYetValid:
		return "not yet"
	case Expired:
		return "expired"
	}
	return "live"
}

func (e *Entry) verdict(now time.Time) Verdict {
	switch {
	case !e.RevokedAt.IsZero():
		return Revoked
	case !e.NotBefore.IsZero() && now.Before(e.NotBefore):
		return NotYetValid
	case !e.NotAfter.IsZero() && !now.Before(e.NotAfter):
		return Expired
	}
	return OK
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
	byID     map[string]*Key
	byDigest map[[sha256.Size]byte]*Key
	dummy    *Key
}

// NewRing makes a ring. Two entries of one id or one digest are an error that
// names both.
func NewRing(entries []Entry) (*Ring, error) {
	r := &Ring{
		byID:     make(map[string]*Key, len(entries)),
		byDigest: make(map[[sha256.Size]byte]*Key, len(entries)),
		dummy:    &Key{},
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
		lock, err := e.Pin.compile()
		if err != nil {
			errs = append(errs, fmt.Errorf("key %q of tenant %s (%s): %w", e.ID, e.Tenant, e.Source, err))
			continue
		}
		k := &Key{e, lock}
		r.byID[e.ID], r.byDigest[e.Digest] = k, k
	}
	return r, errors.Join(errs...)
}

// Len returns how many keys there are.
func (r *Ring) Len() int { return len(r.byID) }

// Lookup finds a presented key. It is nil where the verdict is Unknown. A key is
// found by its digest, and by the id in it where there is no such digest, so that
// known and unknown ids are compared alike. Does not allocate.
func (r *Ring) Lookup(key string, now time.Time) (*Key, Verdict) {
	digest := Digest(key)
	found, named := r.byDigest[digest], r.byID[idOf(key)]
	if found == nil {
		found = named
	}
	if found == nil {
		found = r.dummy
	}
	if subtle.ConstantTimeCompare(found.Digest[:], digest[:]) != 1 || found == r.dummy {
		return nil, Unknown
	}
	return found, found.verdict(now)
}
