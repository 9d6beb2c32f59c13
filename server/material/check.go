package material

import (
	"context"
	"crypto/x509"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/ocsp"
	"github.com/sangate/sangate/pki/revocation"
)

// revoked is all that is known of revocation, as a pki.Snapshot holds it.
type revoked struct {
	set  *revocation.Set
	ocsp *ocsp.Cache // nil: nobody is asked
	hard bool        // no answer refuses

	lists  *revocation.Source // nil: there are none
	keeper *Keeper
}

// prepared is what a chain is looked up by.
type prepared struct {
	keys  *revocation.Keys
	chain []*x509.Certificate
	asked atomic.Pointer[asked] // nil: not yet
	noted atomic.Bool           // its issuers were, as one of them has no list
}

// asked is a chain's entry in a cache; another configuration has another cache.
type asked struct {
	cache *ocsp.Cache
	entry *ocsp.Entry
}

func (p *prepared) in(cache *ocsp.Cache) *ocsp.Entry {
	a := p.asked.Load()
	if a == nil || a.cache != cache {
		a = &asked{cache, cache.Entry(p.chain)}
		p.asked.Store(a)
	}
	return a.entry
}

// Prepare implements pki.Revocation.
func (r *revoked) Prepare(chain []*x509.Certificate, names []pki.SAN) any {
	return &prepared{keys: revocation.KeysOf(chain, names), chain: chain}
}

// Check implements pki.Revocation. What is known to be revoked goes before what
// is not known.
func (r *revoked) Check(p any, now time.Time) pki.Finding {
	chain := p.(*prepared)
	listed := r.set.Check(chain.keys, now)
	if listed.Status == revocation.Revoked {
		return pki.Finding{Reason: pki.Revoked, Source: listed.Source(), Detail: listed.Detail()}
	}
	if r.ocsp != nil {
		switch status, detail := chain.in(r.ocsp).Status(now); {
		case status == ocsp.Revoked:
			return pki.Finding{Reason: pki.Revoked, Source: ocspName, Detail: detail}
		case status == ocsp.Unknown && r.hard:
			return pki.Finding{Reason: pki.RevocationUnknown, Source: ocspName, Detail: detail}
		}
	}
	if r.lists != nil && !chain.noted.Load() && !r.set.Knows(chain.keys) && chain.noted.CompareAndSwap(false, true) {
		if r.keeper.noteIssuersOf(chain.chain) { // else nobody could verify that list, and nobody would be on it
			r.lists.IssuerFound()
		}
	}
	if listed.Status == revocation.Unknown {
		return pki.Finding{Reason: pki.RevocationUnknown, Source: listed.Source(), Detail: listed.Detail()}
	}
	return pki.Finding{}
}

// Recall implements pki.Recaller. No entry is made in the cache of responders'
// answers: whoever has a copy of a certificate could have its responder asked.
func (r *revoked) Recall(p any, now time.Time) pki.Finding {
	chain := p.(*prepared)
	if listed := r.set.Check(chain.keys, now); listed.Status == revocation.Revoked {
		return pki.Finding{Reason: pki.Revoked, Source: listed.Source(), Detail: listed.Detail()}
	}
	if a := chain.asked.Load(); r.ocsp != nil && a != nil && a.cache == r.ocsp {
		if status, detail := a.entry.Recall(now); status == ocsp.Revoked {
			return pki.Finding{Reason: pki.Revoked, Source: ocspName, Detail: detail}
		}
	}
	return pki.Finding{}
}

// Await implements pki.Awaiter. The first time a certificate is seen, its
// responder is given the time to answer; and where its issuer has no list here,
// which a CA's new intermediate has not, all lists are looked at once more.
func (r *revoked) Await(ctx context.Context, p any) pki.Revocation {
	chain := p.(*prepared)
	if r.ocsp != nil && r.hard {
		chain.in(r.ocsp).Await(ctx)
	}
	if r.lists == nil || r.set.CheckChain(chain.chain, nil, r.keeper.opts.Now()).Status != revocation.Unknown {
		return r
	}
	r.keeper.noteIssuersOf(chain.chain)
	r.lists.LookAgain(ctx)
	latest, err := r.keeper.revocation(r.keeper.parts())
	if err != nil || latest == nil {
		return r
	}
	if latest != r.keeper.Snapshot().Revocation {
		r.keeper.opts.TakeUp() // else the first request could come before it is in force
	}
	return latest
}
