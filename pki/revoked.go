package pki

import (
	"context"
	"crypto/x509"
	"time"
)

// A Revocation tells whose certificate was taken back: what is known of it is
// part of the snapshot. pki/revocation has one.
type Revocation interface {
	// Prepare does, once for a verified chain (leaf first) and the leaf's
	// names, what of the work does not depend on what was revoked.
	Prepare(chain []*x509.Certificate, names []SAN) (prepared any)
	// Check answers for what Prepare returned. It does no I/O and, where
	// there is nothing to say against the chain, does not allocate.
	Check(prepared any, now time.Time) Finding
}

// A Recaller is a [Revocation] whose Check may have others asked. Recall says what is
// known already: it asks nobody, and remembers nothing of what it was given. It is
// called in a handshake, before the client has proved that it holds its key.
type Recaller interface {
	Recall(prepared any, now time.Time) Finding
}

// revocationWait bounds how long a handshake waits for an [Awaiter].
const revocationWait = 3 * time.Second

// An Awaiter is a [Revocation] that may know more soon. Await returns what to
// ask instead when there is an answer for what Prepare returned, or when ctx
// ends. It is called once a handshake is done, once, where the answer was
// [RevocationUnknown]; never at a request.
type Awaiter interface {
	Await(ctx context.Context, prepared any) Revocation
}

// A Finding is what revocation has to say against a chain; the zero value is
// nothing.
type Finding struct {
	Reason Reason // [Revoked] or [RevocationUnknown]
	Source string // the list, the denylist or the responder that says so, as configured; may be empty
	Detail string // for the log
}

// refusal is the error of a handshake that f ends.
func (f Finding) refusal() *RefusedError {
	reason := f.Reason
	switch reason {
	case CertExpired:
		reason = Expired
	case CertUntrusted:
		reason = Untrusted
	}
	return &RefusedError{Reason: reason, Detail: f.Detail, Source: f.Source}
}

// checkRevoked is the handshake's look at revocation: one good chain is enough. It may
// wait until ctx ends; then the error is that of ctx.
func (s *Snapshot) checkRevoked(ctx context.Context, chains []*chain, names []SAN, now func() time.Time) error {
	if s.Revocation == nil {
		return nil
	}
	first := revoked(chains, s.Revocation.Check, s.Revocation, names, now())
	if awaiter, ok := s.Revocation.(Awaiter); ok && first.Reason == RevocationUnknown {
		within, cancel := context.WithTimeout(ctx, revocationWait)
		defer cancel()
		latest := s.Revocation
		for _, c := range chains {
			latest = awaiter.Await(within, c.preparedFor(s.Revocation, names))
		}
		first = revoked(chains, latest.Check, s.Revocation, names, now())
		if first.Reason == RevocationUnknown && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if first.Reason == "" {
		return nil
	}
	return first.refusal()
}

// revoked asks check, a method of r, about each chain that is valid now. It finds
// nothing where there is nothing to say against one of them.
func revoked(chains []*chain, check func(any, time.Time) Finding, r Revocation, names []SAN, now time.Time) (first Finding) {
	for _, c := range chains {
		if !c.validAt(now) {
			continue
		}
		found := check(c.preparedFor(r, names), now)
		if found.Reason == "" {
			return Finding{}
		}
		if first.Reason == "" {
			first = found
		}
	}
	return first
}
