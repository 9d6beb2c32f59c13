package pki

import (
	"crypto/x509"
	"slices"
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

	sent          []*x509.Certificate
	intermediates *x509.CertPool
	anchor        atomic.Pointer[anchor]
}

// An anchor is what is known of a Peer's chains under one bundle.
type anchor struct {
	bundle  *Bundle
	refused Reason   // CertUntrusted or CertExpired where no chain verifies
	chains  []*chain // the one that is valid longest first
}

// NewPeer describes the client that sent the chain (leaf first), as verified
// under bundle with the given chains; chains may be nil.
func NewPeer(sent []*x509.Certificate, bundle *Bundle, chains [][]*x509.Certificate) *Peer {
	p := &Peer{Leaf: sent[0], sent: sent}
	p.Identity, p.IdentityErr = ParseIdentity(p.Leaf)
	if len(sent) > 1 {
		p.intermediates = x509.NewCertPool()
		for _, c := range sent[1:] {
			p.intermediates.AddCert(c)
		}
	}
	if len(chains) > 0 {
		p.anchor.Store(newAnchor(bundle, chains, p.Identity))
	}
	return p
}

// Check says whether the certificate is still good at time now under the
// snapshot: [CertExpired], [CertRevoked], [RevocationUnknown], [CertUntrusted],
// [BadCertificate] if each of its chains has a weak key, or nothing. It allocates nothing but when the bundle has changed since the
// last call, when the chain is verified anew, and where something was revoked.
func (p *Peer) Check(s *Snapshot, now time.Time) Reason {
	switch found := p.Find(s, now); found.Reason {
	case Revoked:
		return CertRevoked
	default:
		return found.Reason
	}
}

// Find is [Peer.Check] with where it comes from. Its reason is [Revoked] where
// that of Check is [CertRevoked].
func (p *Peer) Find(s *Snapshot, now time.Time) Finding {
	chains, found := p.standing(s, now)
	if found.Reason == "" && s.Revocation != nil {
		return revoked(chains, s.Revocation.Check, s.Revocation, p.Identity.SANs, now)
	}
	return found
}

// standing is Find but for revocation. It returns the chains that may count, at least
// one, if there is nothing to say against the peer.
func (p *Peer) standing(s *Snapshot, now time.Time) ([]*chain, Finding) {
	if now.Before(p.Leaf.NotBefore) || now.After(p.Leaf.NotAfter) {
		return nil, Finding{Reason: CertExpired}
	}
	a := p.anchor.Load()
	if a == nil || a.bundle != s.Bundle {
		a = p.reanchor(s.Bundle, now)
	}
	if a.refused != "" {
		return nil, Finding{Reason: a.refused}
	}
	chains := strongOf(a.chains, s.WeakKeys)
	switch {
	case len(chains) == 0:
		return nil, Finding{Reason: BadCertificate, Detail: checkKeys(a.chains[0].certs, s.WeakKeys).Error()}
	case !slices.ContainsFunc(chains, func(c *chain) bool { return c.validAt(now) }):
		return nil, Finding{Reason: CertExpired}
	}
	return chains, Finding{}
}

// NotAfter returns the last moment the peer can be let in under the bundle it
// was last checked with.
func (p *Peer) NotAfter() time.Time {
	if a := p.anchor.Load(); a != nil && a.refused == "" && a.chains[0].notAfter.Before(p.Leaf.NotAfter) {
		return a.chains[0].notAfter
	}
	return p.Leaf.NotAfter
}

func (p *Peer) reanchor(bundle *Bundle, now time.Time) *anchor {
	chains, err := p.Leaf.Verify(x509.VerifyOptions{
		Roots:         bundle.issuersOf(p.sent).pool(p.sent),
		Intermediates: p.intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		chains = nil
	}
	a := newAnchor(bundle, chains, p.Identity)
	if err != nil && verifyReason(err, now) == Expired {
		a.refused = CertExpired // an issuer is; the leaf was looked at before
	}
	p.anchor.Store(a)
	return a
}

func newAnchor(bundle *Bundle, verified [][]*x509.Certificate, id *Identity) *anchor {
	a := &anchor{bundle: bundle, chains: bundle.usable(verified, id)}
	if len(a.chains) == 0 {
		a.refused = CertUntrusted
	}
	return a
}
