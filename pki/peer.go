package pki

import (
	"crypto/x509"
	"sync/atomic"
	"time"
)

// A Peer is the client end of one connection: the certificate it proved at the
// handshake, parsed once and kept as long as the connection. Safe for
// concurrent use.
type Peer struct {
	Leaf        *x509.Certificate
	Identity    *Identity // never nil
	IdentityErr error     // a *RefusedError where the names are unusable

	intermediates *x509.CertPool
	anchor        atomic.Pointer[anchor]
}

// An anchor is what is known of a Peer's chain under one bundle: when it is
// valid, or why it is not.
type anchor struct {
	bundle              *Bundle
	refused             Reason // CertUntrusted or CertExpired where no chain verifies
	notBefore, notAfter time.Time
	chain               []*x509.Certificate
	prepared            atomic.Pointer[any] // of chain, for Revocation; nil until asked for
}

// NewPeer describes the client that sent the chain (leaf first), as verified
// under bundle with the given chains; chains may be nil.
func NewPeer(sent []*x509.Certificate, bundle *Bundle, chains [][]*x509.Certificate) *Peer {
	p := &Peer{Leaf: sent[0]}
	p.Identity, p.IdentityErr = ParseIdentity(p.Leaf)
	if len(sent) > 1 {
		p.intermediates = x509.NewCertPool()
		for _, c := range sent[1:] {
			p.intermediates.AddCert(c)
		}
	}
	if len(chains) > 0 {
		p.anchor.Store(newAnchor(bundle, chains))
	}
	return p
}

// Check says whether the certificate is still good at time now under the
// snapshot: [CertExpired], [CertRevoked], [RevocationUnknown], [CertUntrusted],
// or nothing. It allocates nothing but when the bundle has changed since the
// last call, when the chain is verified anew.
func (p *Peer) Check(s *Snapshot, now time.Time) Reason {
	if now.Before(p.Leaf.NotBefore) || now.After(p.Leaf.NotAfter) {
		return CertExpired
	}
	a := p.anchor.Load()
	if a == nil || a.bundle != s.Bundle {
		a = p.reanchor(s.Bundle, now)
	}
	switch {
	case a.refused != "":
		return a.refused
	case now.Before(a.notBefore) || now.After(a.notAfter):
		return CertExpired
	case s.Revocation != nil:
		return p.revoked(a, s.Revocation, now)
	}
	return ""
}

// NotAfter returns the last moment the peer can be let in under the bundle it
// was last checked with.
func (p *Peer) NotAfter() time.Time {
	if a := p.anchor.Load(); a != nil && a.refused == "" && a.notAfter.Before(p.Leaf.NotAfter) {
		return a.notAfter
	}
	return p.Leaf.NotAfter
}

func (p *Peer) reanchor(bundle *Bundle, now time.Time) *anchor {
	chains, err := p.Leaf.Verify(x509.VerifyOptions{
		Roots:         bundle.pool,
		Intermediates: p.intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		chains = nil
	}
	a := newAnchor(bundle, chains)
	if a.refused != "" && verifyReason(err, now) == Expired {
		a.refused = CertExpired // an issuer is; the leaf was looked at before
	}
	p.anchor.Store(a)
	return a
}

// newAnchor keeps the chain that is valid longest.
func newAnchor(bundle *Bundle, chains [][]*x509.Certificate) *anchor {
	a := &anchor{bundle: bundle, refused: CertUntrusted, chain: longest(chains)}
	if a.chain != nil {
		a.refused = ""
		a.notBefore, a.notAfter = validity(a.chain)
	}
	return a
}

// revoked asks r about the anchored chain, which it prepares once.
func (p *Peer) revoked(a *anchor, r Revocation, now time.Time) Reason {
	prepared := a.prepared.Load()
	if prepared == nil {
		once := r.Prepare(a.chain, p.Identity.SANs)
		prepared = &once
		a.prepared.Store(prepared)
	}
	switch reason, _ := r.Check(*prepared, now); reason {
	case "":
		return ""
	case Revoked:
		return CertRevoked
	default:
		return reason
	}
}
