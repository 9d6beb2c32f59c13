package ocsp

import (
	"container/list"
	"context"
	"crypto/x509"
	"fmt"
	"math/big"
	"sync/atomic"
	"time"
)

// Status is what is known of a certificate.
type Status uint8

// The statuses. The zero value lets nobody in.
const (
	Unknown Status = iota // no answer, one past its end, or the responder does not know the certificate
	Good
	Revoked
)

func (s Status) String() string {
	return [...]string{"unknown", "good", "revoked"}[min(s, Revoked)]
}

// An Entry is one certificate of one issuer. Keep it as long as the connection.
// Safe for concurrent use.
type Entry struct {
	cache *Cache // nil: nobody can be asked, state says why
	key   key

	serial   *big.Int // not the certificate: a parsed one is thirty times as large
	notAfter time.Time
	issuer   *x509.Certificate
	address  string

	state atomic.Pointer[state]
	used  atomic.Int64 // Unix time of the last question
	held  atomic.Bool  // in the cache; changed under its lock
	moved atomic.Pointer[Entry]

	// What follows is guarded by the cache's lock.
	place  *list.Element // in the order of use; nil: not held
	marked int64         // used, when it was put there
	line   *line         // it waits in; nil: none
	index  int           // in line
	due    time.Time     // in line
	first  bool          // waits among the first look-ups
	busy   bool          // is being looked at
	failed int           // looks in a row
	done   chan struct{} // closed when the next look ended; nil: nobody waits
}

// A state is immutable.
type state struct {
	answer        // zero: none yet
	detail string // of the status while it holds
	ended  string // of Unknown afterwards
}

// answered tells whether there ever was an answer.
func (s *state) answered() bool { return !s.thisUpdate.IsZero() }

// holds tells whether there is an answer that is not past its end. A revocation
// has no end.
func (s *state) holds(now time.Time) bool {
	return s.status == Revoked || s.answered() && !now.After(s.until)
}

func (s *state) at(now time.Time) (Status, string) {
	if !s.holds(now) {
		return Unknown, s.ended
	}
	return s.status, s.detail
}

// Status returns what is known at time now, and why, for the log, where it is
// not Good. It does no I/O and does not allocate, and keeps the entry in use. An
// entry that went out of the cache comes back by it.
func (e *Entry) Status(now time.Time) (Status, string) {
	return e.touch(now).state.Load().at(now)
}

// Recall is [Entry.Status] that does not keep the entry in use.
func (e *Entry) Recall(now time.Time) (Status, string) { return e.follow().state.Load().at(now) }

// Await is [Entry.Status] that waits while there is no answer, at most until ctx
// ends, for a first handshake. It returns at once where no look can end in that
// time, and when [Cache.Run] ended. That the responder does not know the
// certificate is an answer. It needs Run to be running. However many wait for
// one entry, it is asked about once.
func (e *Entry) Await(ctx context.Context) (Status, string) {
	if e.cache == nil {
		return e.Status(time.Time{})
	}
	for ctx.Err() == nil {
		var done <-chan struct{}
		if e, done = e.cache.wait(ctx, e.touch(e.cache.opts.Now())); done == nil {
			break
		}
		select {
		case <-done:
		case <-e.cache.ended:
			return e.Status(e.cache.opts.Now())
		case <-ctx.Done():
		}
	}
	return e.Status(e.cache.opts.Now())
}

// touch notes that e was asked about, once a second, and returns the entry that
// answers for it.
func (e *Entry) touch(now time.Time) *Entry {
	e = e.follow()
	second := now.Unix()
	if e.cache == nil || e.used.Load() == second {
		return e
	}
	e.used.Store(second)
	if !e.held.Load() {
		e = e.cache.revive(e, now)
	}
	return e
}

// follow returns the entry that answers for e.
func (e *Entry) follow() *Entry {
	for next := e.moved.Load(); next != nil; next = e.moved.Load() {
		e = next
	}
	return e
}

// take makes a the answer, unless that went back (under the cache's lock):
//   - a revocation is always taken, but not for a newer one;
//   - it is lifted by nothing but a Good that is newer;
//   - nothing else is taken for what is newer.
func (e *Entry) take(a *answer, now time.Time) (changed bool, err error) {
	held := &e.state.Load().answer
	older := a.thisUpdate.Before(held.thisUpdate)
	switch {
	case held.status == Revoked && a.status == Revoked:
		if older {
			return false, nil
		}
	case a.status == Revoked:
	case held.status == Revoked && a.status == Unknown:
		return false, fmt.Errorf("the OCSP responder no longer knows the certificate, which is revoked since %s", stamp(held.revokedAt))
	case held.status == Revoked && !a.thisUpdate.After(held.thisUpdate):
		return false, fmt.Errorf("the OCSP answer, good at %s, is older than the revocation, told at %s",
			stamp(a.thisUpdate), stamp(held.thisUpdate))
	case older && a.status == held.status && !now.After(held.until):
		return false, nil // two responders, one behind: nothing lost
	case older:
		return false, fmt.Errorf("the OCSP answer of %s is older than the one held, of %s", stamp(a.thisUpdate), stamp(held.thisUpdate))
	}
	e.state.Store(newState(a))
	return (held.status == Revoked) != (a.status == Revoked), nil
}

func newState(a *answer) *state {
	s := &state{answer: *a}
	switch a.status {
	case Revoked:
		s.detail = fmt.Sprintf("its OCSP responder says it is revoked since %s, %s; told at %s",
			stamp(a.revokedAt), reasonName(a.reason), stamp(a.thisUpdate))
	case Unknown:
		s.detail = fmt.Sprintf("its OCSP responder does not know it; told at %s", stamp(a.thisUpdate))
	}
	s.ended = "the answer of its OCSP responder ended at " + stamp(a.until)
	return s
}

// lament tells in the state why there is no newer answer.
func (e *Entry) lament(err error) {
	held := e.state.Load()
	s := *held
	s.ended = "no answer about it of its OCSP responder: " + err.Error()
	if held.answered() {
		s.ended = "the answer of its OCSP responder ended at " + stamp(held.until) + "; since then: " + err.Error()
	}
	e.state.Store(&s)
}
