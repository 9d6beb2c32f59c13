// Package forwarded knows the proxies that may say whose certificate they were
// shown, and reads it from what they say: Client-Cert and Client-Cert-Chain (RFC
// 9440), or Envoy's X-Forwarded-Client-Cert.
//
// Nothing but the certificate itself is believed, and that is verified again as in
// a handshake: names, digests and subjects in a header are the proxy's word only.
//
// It refuses headers that say more than one thing: two values where one belongs,
// elements of several proxies, certificates with anything behind them.
package forwarded

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/sanrule"
)

// A Format is how a proxy says it.
type Format string

// The formats.
const (
	ClientCert Format = "clientCert" // RFC 9440
	XFCC       Format = "xfcc"       // Envoy's
)

// Proxies are those that may say it, by the names in their own certificates. A
// nil *Proxies is none. Immutable.
type Proxies struct{ rules sanrule.Set[Format] }

// Add adds a proxy by a SAN rule. The error says what is wrong with the rule, or
// that another format's could match the same name.
func (p *Proxies) Add(text string, f Format) error {
	rule, err := sanrule.Parse(text)
	if err != nil {
		return err
	}
	if len(rule.Captures()) > 0 {
		return errors.New("a proxy's rule captures nothing; write * for a segment that does not matter")
	}
	return p.rules.Add(rule, f)
}

// Find returns how the peer says whose certificate it was shown, if it is a
// proxy. Does not allocate.
func (p *Proxies) Find(peer *pki.Peer) (Format, bool) {
	if p == nil || peer.IdentityErr != nil {
		return "", false
	}
	for i := range peer.Identity.SANs {
		if m, ok := p.rules.Lookup(peer.Identity.SANs[i]); ok {
			return m.Value, true
		}
	}
	return "", false
}

// Match returns the index of the SAN that makes the peer a proxy; if several do, of
// the one that [pki.Identity.Before] puts first.
func (p *Proxies) Match(peer *pki.Peer) (san int, ok bool) {
	if p == nil || peer.IdentityErr != nil {
		return 0, false
	}
	for i := range peer.Identity.SANs {
		if _, found := p.rules.Lookup(peer.Identity.SANs[i]); found && (!ok || peer.Identity.Before(i, san)) {
			san, ok = i, true
		}
	}
	return san, ok
}

// maxPeers bounds the carried certificates that are remembered.
const maxPeers = 8192

// A Reader reads carried certificates, and remembers those it has verified: a
// pki.Peer looks at dates, trust and revocation by itself at every request. Safe
// for concurrent use; the zero value is ready.
type Reader struct {
	mu    sync.RWMutex
	peers map[[sha256.Size]byte]*pki.Peer
}

// Peer returns who the header stands for. The error carries a reason of
// pki.HandshakeReasons: no_certificate where nothing is carried, bad_certificate
// where it cannot be read, and those of the verification.
func (r *Reader) Peer(h http.Header, f Format, s *pki.Snapshot, now func() time.Time) (*pki.Peer, error) {
	sum, err := digest(h, f)
	if err != nil {
		return nil, err
	}
	r.mu.RLock()
	peer := r.peers[sum]
	r.mu.RUnlock()
	if peer != nil {
		return peer, nil
	}
	chain, err := parse(h, f)
	if err != nil {
		return nil, err
	}
	if peer, err = s.Verify(chain, now); err != nil {
		return nil, err
	}
	r.remember(sum, peer)
	return peer, nil
}

// remember takes a peer in; where there is no room, any one goes.
func (r *Reader) remember(sum [sha256.Size]byte, peer *pki.Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.peers == nil {
		r.peers = make(map[[sha256.Size]byte]*pki.Peer)
	}
	for old := range r.peers {
		if len(r.peers) < maxPeers {
			break
		}
		delete(r.peers, old)
	}
	r.peers[sum] = peer
}

// digest tells headers apart.
func digest(h http.Header, f Format) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	hash.Write([]byte(f))
	any := false
	for _, name := range f.headers() {
		for _, value := range h[name] {
			any = true
			hash.Write([]byte("\n" + name + ":" + value)) // a value has no line break
		}
	}
	if !any {
		return sum, bad(pki.NoCertificate, "the proxy carries no certificate: "+f.headers()[0]+" is missing")
	}
	hash.Sum(sum[:0])
	return sum, nil
}

func (f Format) headers() []string {
	if f == XFCC {
		return []string{"X-Forwarded-Client-Cert"}
	}
	return []string{"Client-Cert", "Client-Cert-Chain"}
}

// parse returns the chain that is carried, leaf first.
func parse(h http.Header, f Format) ([]*x509.Certificate, error) {
	if f == XFCC {
		return parseXFCC(h["X-Forwarded-Client-Cert"])
	}
	return parseClientCert(h["Client-Cert"], h["Client-Cert-Chain"])
}

func bad(reason pki.Reason, detail string) error {
	return &pki.RefusedError{Reason: reason, Detail: detail}
}
