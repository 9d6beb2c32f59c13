package pki

import (
	"crypto/x509"
	"slices"
	"sync/atomic"
	"time"
)

// A chain is a verified one, leaf first, anchor last.
type chain struct {
	certs               []*x509.Certificate
	notBefore, notAfter time.Time // when all of it is valid
	weak                weakness  // of its keys
	prepared            atomic.Pointer[any]
}

// strongOf returns the chains without a weak key or signature outside the allowed
// kinds. It allocates nothing if that is all or none of them.
func strongOf(chains []*chain, allowed []WeakKey) []*chain {
	taken := weaknessOf(allowed)
	weak := 0
	for _, c := range chains {
		if c.weak&^taken != 0 {
			weak++
		}
	}
	switch weak {
	case 0:
		return chains
	case len(chains):
		return nil
	}
	return slices.DeleteFunc(slices.Clone(chains), func(c *chain) bool { return c.weak&^taken != 0 })
}

// usable returns the chains that may count, the one that is valid longest
// first: short enough, and ending in an anchor that may vouch for the names.
func (b *Bundle) usable(verified [][]*x509.Certificate, id *Identity) []*chain {
	var chains []*chain
	for _, certs := range verified {
		if len(certs) > MaxChain || !b.vouches(certs[len(certs)-1], id) {
			continue
		}
		c := &chain{certs: certs, weak: weaknessIn(certs), notBefore: certs[0].NotBefore, notAfter: certs[0].NotAfter}
		for _, cert := range certs[1:] {
			if cert.NotBefore.After(c.notBefore) {
				c.notBefore = cert.NotBefore
			}
			if cert.NotAfter.Before(c.notAfter) {
				c.notAfter = cert.NotAfter
			}
		}
		chains = append(chains, c)
	}
	slices.SortStableFunc(chains, func(a, b *chain) int { return b.notAfter.Compare(a.notAfter) })
	return chains
}

func (c *chain) validAt(now time.Time) bool {
	return !now.Before(c.notBefore) && !now.After(c.notAfter)
}

// preparedFor returns what r made of the chain, once.
func (c *chain) preparedFor(r Revocation, names []SAN) any {
	prepared := c.prepared.Load()
	if prepared == nil {
		once := r.Prepare(c.certs, names)
		prepared = &once
		c.prepared.Store(prepared)
	}
	return *prepared
}
