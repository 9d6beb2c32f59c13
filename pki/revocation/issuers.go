package revocation

import (
	"crypto/x509"
	"maps"
	"slices"
	"time"
)

// keptAfter is how long lists are kept after the certificate of their issuer has ended: a
// renewed one of the same key may be about.
const keptAfter = 30 * 24 * time.Hour

// maxChain bounds the certificates that are kept with a list.
const maxChain = 8

// chainOf returns an issuer's certificate, the one of its key that ends last, with those
// that lead from it to an anchor.
func (s *Source) chainOf(issuer *x509.Certificate) []*x509.Certificate {
	known := s.opts.Issuers()
	key := issuerKeyOf(issuer)
	for _, c := range known {
		if c.NotAfter.After(issuer.NotAfter) && issuerKeyOf(c) == key {
			issuer = c
		}
	}
	if old := s.chains[key]; len(old) > 0 && old[0].NotAfter.After(issuer.NotAfter) {
		issuer = old[0]
	}
	for _, chain := range s.verify(issuer, append(s.between(), known...)) {
		if len(chain) <= maxChain {
			return chain
		}
	}
	return []*x509.Certificate{issuer}
}

// between returns the certificates that are known to lead to anchors.
func (s *Source) between() (list []*x509.Certificate) {
	for _, chain := range s.chains {
		list = append(list, chain...)
	}
	return list
}

// leads reports whether the issuer's certificate, the first of the chain, is one that lists
// may be signed by now, or leads to an anchor.
func (s *Source) leads(chain []*x509.Certificate) bool {
	known := s.opts.Issuers()
	key := issuerKeyOf(chain[0])
	return slices.ContainsFunc(known, func(c *x509.Certificate) bool { return issuerKeyOf(c) == key }) ||
		len(s.verify(chain[0], append(slices.Clone(chain[1:]), known...))) > 0
}

// verify returns the ways from a CA certificate to an anchor. One that has ended is
// verified as of its end: its lists are needed until nothing below it can be shown.
func (s *Source) verify(ca *x509.Certificate, between []*x509.Certificate) [][]*x509.Certificate {
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range s.opts.Anchors() {
		roots.AddCert(c)
	}
	at := s.opts.Now()
	if at.After(ca.NotAfter) {
		at = ca.NotAfter
	}
	if at.Before(ca.NotBefore) { // our clock is wrong
		at = ca.NotBefore
	}
	for _, c := range between {
		others.AddCert(c)
	}
	chains, err := ca.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil
	}
	return chains
}

// issuers returns the certificates that a list may be signed by: those the caller knows,
// and those of the lists in force, which a CA goes on to sign when it has another key.
func (s *Source) issuers() []*x509.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.opts.Issuers())
	for _, chain := range s.chains {
		if !slices.ContainsFunc(list, chain[0].Equal) && s.leads(chain) {
			list = append(list, chain[0])
		}
	}
	return list
}

// ended reports whether nothing that the issuer signed can be valid any more. That is
// measured by what CAs have signed, not by our clock alone: a clock that jumps ahead and
// back would have lists forgotten. The caller holds s.mu.
func (s *Source) ended(chain []*x509.Certificate) bool {
	if len(chain) == 0 {
		return false
	}
	var signed time.Time
	for _, c := range s.inForce {
		if c.ThisUpdate.After(signed) {
			signed = c.ThisUpdate
		}
	}
	if now := s.opts.Now(); signed.After(now) {
		signed = now
	}
	last, key := chain[0].NotAfter, issuerKeyOf(chain[0])
	for _, c := range s.opts.Issuers() {
		if c.NotAfter.After(last) && issuerKeyOf(c) == key {
			last = c.NotAfter
		}
	}
	return last.Add(keptAfter).Before(signed)
}

// dropChains forgets the issuers that no list in force is of. The caller holds s.mu.
func (s *Source) dropChains() {
	used := make(map[issuerKey]bool)
	for key := range s.inForce {
		used[key.issuer] = true
	}
	maps.DeleteFunc(s.chains, func(k issuerKey, _ []*x509.Certificate) bool { return !used[k] })
}

// sweep forgets the lists of issuers of which nothing can be valid any more.
func (s *Source) sweep() {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	for _, key := range s.forget() {
		s.opts.Logger.Info("revocation list forgotten: its issuer's certificate has ended", "list", key.String())
		s.remove(key)
	}
}

func (s *Source) forget() (gone []listKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.inForce {
		if s.ended(s.chains[key.issuer]) {
			gone = append(gone, key)
		}
	}
	for _, key := range gone {
		delete(s.inForce, key)
		for _, it := range s.items {
			if it.served[key] != 0 {
				delete(it.served, key)
				it.unsaved = true
			}
		}
	}
	if len(gone) > 0 {
		s.dropChains()
		s.publish()
	}
	return gone
}
