package pki

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"sync"
	"time"
)

// maxKnown bounds the chains a [Bundle] knows to be good.
const maxKnown = 8192

// known holds the peers whose chains were verified under one bundle, by what they
// sent. A bundle is immutable, so signatures, names and usages that were good
// once under it still are; dates and revocation are looked at each time. Only
// those that our anchors vouch for get in. Safe for concurrent use.
type known struct {
	mu    sync.RWMutex
	peers map[[sha256.Size]byte]*Peer
}

func chainSum(sent []*x509.Certificate) (sum [sha256.Size]byte) {
	if len(sent) == 1 {
		return sha256.Sum256(sent[0].Raw)
	}
	h := sha256.New()
	for _, c := range sent {
		h.Write(c.Raw) // DER says where it ends
	}
	h.Sum(sum[:0])
	return sum
}

func (k *known) get(sum [sha256.Size]byte) *Peer {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.peers[sum]
}

// put takes a peer in. Where there is no room any one goes: whoever is missing is
// verified anew.
func (k *known) put(sum [sha256.Size]byte, p *Peer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.peers == nil {
		k.peers = make(map[[sha256.Size]byte]*Peer)
	}
	for other := range k.peers {
		if len(k.peers) < maxKnown {
			break
		}
		delete(k.peers, other)
	}
	k.peers[sum] = p
}

// verifyKnown is [Snapshot.Verify] that knows chains from before.
func (s *Snapshot) verifyKnown(sent []*x509.Certificate, now func() time.Time) (*Peer, error) {
	h := s.NewHandshake(now)
	if err := h.verify(sent); err != nil {
		return nil, err
	}
	return h.Confirm(context.Background())
}

// detached parses certificates anew from copies. Those of crypto/tls keep the whole
// message in memory that they came in.
func detached(sent []*x509.Certificate) ([]*x509.Certificate, error) {
	out := make([]*x509.Certificate, len(sent))
	for i, c := range sent {
		var err error
		if out[i], err = x509.ParseCertificate(bytes.Clone(c.Raw)); err != nil {
			return nil, refuse(BadCertificate, "unreadable: "+err.Error())
		}
	}
	return out, nil
}

// needs reports whether each of the certificates is in a chain of p, and none is there
// twice. Nobody's key is proven before chains are verified, so whoever has a copy of a good
// certificate could else have us keep anything behind it, each time anew.
func (p *Peer) needs(certs []*x509.Certificate) bool {
	chains := p.anchor.Load().chains
	for i, c := range certs {
		if slices.ContainsFunc(certs[:i], c.Equal) ||
			!slices.ContainsFunc(chains, func(ch *chain) bool { return slices.ContainsFunc(ch.certs[1:], c.Equal) }) {
			return false
		}
	}
	return true
}

// PeerOf describes the client of a handshake that was done under this snapshot.
func (s *Snapshot) PeerOf(state *tls.ConnectionState) *Peer {
	sum := chainSum(state.PeerCertificates)
	if p := s.Bundle.known.get(sum); p != nil {
		return p
	}
	return NewPeer(state.PeerCertificates, s.Bundle, nil)
}
