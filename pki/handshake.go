package pki

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"time"
)

// A Handshake verifies the client of one handshake in two steps. crypto/tls calls
// VerifyConnection before the client has proved that it holds the key of its
// certificate, and anybody may send a copy of another's certificate. So
// [Handshake.Verify] waits for nobody, asks nobody and remembers nothing. The rest is
// [Handshake.Confirm]'s, after the handshake.
type Handshake struct {
	snapshot *Snapshot
	now      func() time.Time
	sent     []*x509.Certificate
	sum      [sha256.Size]byte
	peer     *Peer
	known    bool // from before
}

// NewHandshake returns a Handshake under the snapshot.
func (s *Snapshot) NewHandshake(now func() time.Time) *Handshake {
	return &Handshake{snapshot: s, now: now}
}

// Verify is for tls.Config.VerifyConnection. It verifies the chain, and refuses a
// certificate that is known to be revoked. The error is a [*RefusedError].
func (h *Handshake) Verify(cs tls.ConnectionState) error {
	if err := h.verify(cs.PeerCertificates); err != nil {
		return err
	}
	recaller, ok := h.snapshot.Revocation.(Recaller)
	if !ok {
		return nil
	}
	chains, _ := h.peer.standing(h.snapshot, h.now())
	found := revoked(chains, recaller.Recall, h.snapshot.Revocation, h.peer.Identity.SANs, h.now())
	if found.Reason != Revoked {
		return nil // Confirm says more
	}
	return found.refusal()
}

// verify verifies the chain that was sent, but for revocation.
func (h *Handshake) verify(sent []*x509.Certificate) error {
	if len(sent) == 0 {
		return refuse(NoCertificate, "no certificate")
	}
	s := h.snapshot
	if err := s.CheckSent(sent); err != nil {
		return err
	}
	h.sum = chainSum(sent)
	if p := s.Bundle.known.get(h.sum); p != nil {
		if _, found := p.standing(s, h.now()); found.Reason == "" {
			h.peer, h.known = p, true
			return nil
		}
	}
	var err error
	if h.sent, err = detached(sent); err != nil {
		return err
	}
	h.peer, _, err = s.verifyChain(h.sent, h.now)
	return err
}

// Confirm returns the client of a handshake that is done, or says why it is refused
// after all. It asks about revocation and may wait for the answer until ctx ends.
func (h *Handshake) Confirm(ctx context.Context) (*Peer, error) {
	chains, found := h.peer.standing(h.snapshot, h.now())
	if found.Reason != "" { // it has ended since
		return nil, found.refusal()
	}
	if err := h.snapshot.checkRevoked(ctx, chains, h.peer.Identity.SANs, h.now); err != nil {
		return nil, err
	}
	if !h.known && h.peer.needs(h.sent[1:]) {
		h.snapshot.Bundle.known.put(h.sum, h.peer)
	}
	return h.peer, nil
}
