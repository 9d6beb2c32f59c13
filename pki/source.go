package pki

import (
	"errors"
	"sync"
	"sync/atomic"
)

// A Source holds the snapshot in force. Reload swaps in a new one or, where it
// does not load, keeps the last good.
type Source struct {
	load func() (*Snapshot, error)
	cur  atomic.Pointer[Snapshot]

	mu sync.Mutex // one reload at a time
}

// NewSource loads the first snapshot by load, which must return a new Snapshot
// each time.
func NewSource(load func() (*Snapshot, error)) (*Source, error) {
	s := &Source{load: load}
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Snapshot returns the one in force.
func (s *Source) Snapshot() *Snapshot { return s.cur.Load() }

// Reload loads and swaps; it reports whether anything changed. A bundle or
// certificate equal to the one in force keeps its identity, so that peers need
// not be verified anew.
func (s *Source) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.load()
	if err != nil {
		return false, err
	}
	if next == nil || next.Certificate == nil || next.Bundle == nil {
		return false, errors.New("pki: a snapshot needs a certificate and a bundle")
	}
	next.Generation = 1
	if cur := s.cur.Load(); cur != nil {
		if next.Bundle.Equal(cur.Bundle) {
			next.Bundle = cur.Bundle
		}
		if sameCertificate(next, cur) {
			next.Certificate = cur.Certificate
		}
		if next.Certificate == cur.Certificate && next.Bundle == cur.Bundle && next.Revocation == cur.Revocation {
			return false, nil
		}
		next.Generation = cur.Generation + 1
	}
	s.cur.Store(next)
	return true, nil
}

func sameCertificate(a, b *Snapshot) bool {
	if len(a.Certificate.Certificate) != len(b.Certificate.Certificate) {
		return false
	}
	for i, der := range a.Certificate.Certificate {
		if string(der) != string(b.Certificate.Certificate[i]) {
			return false
		}
	}
	return true
}
