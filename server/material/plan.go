package material

import (
	"context"
	"reflect"
	"slices"

	"github.com/sangate/sangate/server/config"
)

// A Plan is what a changed configuration wants kept, ready to be put in force.
// It must be committed or discarded: what was running may be waiting for that.
type Plan struct {
	k      *Keeper
	next   parts
	resume chan struct{} // nil: the origin stays
}

// Prepare makes what the configuration wants and is not there yet, lists and
// first certificate included. It takes its time; nothing changes by it.
func (k *Keeper) Prepare(ctx context.Context, c *config.Config) (*Plan, error) {
	cur := k.parts()
	next, err := k.make(c)
	if err != nil {
		return nil, err
	}
	p := &Plan{k: k, next: next}
	if next.origin != cur.origin {
		// One at a time: the next may keep its things where the one before does.
		resume := make(chan struct{})
		select {
		case k.yield <- resume:
			p.resume = resume
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, firstCertificate)
	defer cancel()
	if err := k.wait(ctx, next); err != nil {
		p.Discard()
		return nil, err
	}
	if next.lists != cur.lists {
		if err := k.loadLists(ctx, next); err != nil {
			p.Discard()
			return nil, err
		}
	}
	return p, nil
}

// Commit puts it in force, or changes nothing and returns why.
func (p *Plan) Commit() error {
	defer p.Discard()
	k := p.k
	before := k.exchange(p.next)
	k.lenient.Store(false)
	_, err := k.source.Reload()
	k.lenient.Store(true)
	k.trouble = nil
	if err != nil {
		k.exchange(before)
		return err
	}
	select {
	case k.refit <- struct{}{}:
	default: // it is due already
	}
	return nil
}

// Discard lets run what is in force. It may be called after Commit.
func (p *Plan) Discard() {
	if p.resume != nil {
		close(p.resume)
		p.resume = nil
	}
}

func (k *Keeper) exchange(next parts) (before parts) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, k.cur = k.cur, next
	return before
}

// make returns what c wants, with all there is already that it wants unchanged.
func (k *Keeper) make(c *config.Config) (next parts, err error) {
	cur := k.parts()
	next.config = c
	if cur.config != nil && sameOrigin(&cur.config.TLS, &c.TLS) {
		next.origin = cur.origin
	} else if next.origin, err = k.newOrigin(c); err != nil {
		return next, err
	}
	was, want := revocationOf(cur.config), revocationOf(c)
	if next.lists = cur.lists; !slices.Equal(was.CRL, want.CRL) {
		if next.lists, err = k.newLists(want, c.State); err != nil {
			return next, err
		}
	}
	if next.ocsp = cur.ocsp; was.AsksOCSP() != want.AsksOCSP() || was.OCSPResponder != want.OCSPResponder {
		next.ocsp, err = k.newOCSP(want)
	}
	return next, err
}

// revocationOf returns what c says of it; the zero value where it says nothing.
func revocationOf(c *config.Config) config.Revocation {
	if c == nil || c.TLS.Revocation == nil {
		return config.Revocation{}
	}
	return *c.TLS.Revocation
}

// sameOrigin reports whether both have the certificate from the same place.
func sameOrigin(a, b *config.TLS) bool {
	return a.Cert == b.Cert && a.Key == b.Key && a.KeyPasswordFile == b.KeyPasswordFile &&
		reflect.DeepEqual(a.StepCA, b.StepCA) && reflect.DeepEqual(a.SPIFFE, b.SPIFFE)
}
