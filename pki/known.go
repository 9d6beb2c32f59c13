package pki

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
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
	if len(sent) == 0 {
		return nil, refuse(NoCertificate, "no certificate")
	}
	if err := s.CheckSent(sent); err != nil {
		return nil, err
	}
	sum := chainSum(sent)
	if p := s.Bundle.known.get(sum); p != nil && p.Find(s, now()).Reason == "" {
		return p, nil
	}
	p, err := s.Verify(sent, now) // says why not, if so
	if err == nil {
		s.Bundle.known.put(sum, p)
	}
	return p, err
}

// PeerOf describes the client of a handshake that was done under this snapshot.
func (s *Snapshot) PeerOf(state *tls.ConnectionState) *Peer {
	sum := chainSum(state.PeerCertificates)
	if p := s.Bundle.known.get(sum); p != nil {
		return p
	}
	return NewPeer(state.PeerCertificates, s.Bundle, nil)
}
