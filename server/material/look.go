package material

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/ocsp"
	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/server/config"
)

// Look returns what a gate with this configuration would verify clients by, as
// far as it lies on this machine: files, and what the gate keeps below its
// state. It enrols nothing, fetches nothing and writes nothing, and Certificate
// is nil. clientCA, where given, stands in for a trust bundle that is elsewhere.
// The error in notes is what is missing beside: a list that could not be read.
func Look(ctx context.Context, c *config.Config, clientCA []string, opts Options) (snap *pki.Snapshot, notes, err error) {
	opts.OnList, opts.OnOCSP, opts.TakeUp = func(revocation.Update) {}, func(ocsp.Outcome, error) {}, func() {}
	k := &Keeper{opts: opts, denied: opts.Denied, still: true, news: make(chan struct{}, 1), refit: make(chan struct{}, 1)}
	k.cur = parts{config: c, origin: &files{}}
	snap = &pki.Snapshot{WeakKeys: c.TLS.WeakKeys()}
	if snap.Bundle, err = lookBundle(c, clientCA, opts); err != nil {
		return nil, nil, err
	}
	known := snap.Bundle.Certificates()
	if chain, err := lookChain(c); err == nil && len(chain) > 1 {
		known = append(known[:len(known):len(known)], chain[1:]...) // they sign lists, too
	}
	k.cas.Store(&known)
	k.anchors.Store(new(snap.Bundle.Certificates()))
	if k.cur.lists, err = k.newLists(revocationOf(c), c.State); err != nil {
		return nil, nil, err
	}
	if k.cur.lists != nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := k.cur.lists.Load(ctx); err != nil && !errors.Is(err, revocation.ErrStale) {
			notes = fmt.Errorf("revocation lists: %w", err)
		}
	}
	if r := revocationOf(c); r.AsksOCSP() {
		notes = errors.Join(notes, errors.New("OCSP responders are not asked"))
	}
	snap.Revocation, err = k.revocation(k.cur)
	return snap, notes, err
}

func lookBundle(c *config.Config, clientCA []string, opts Options) (*pki.Bundle, error) {
	p := parts{config: c, origin: &files{}}
	switch t := &c.TLS; {
	case len(clientCA) > 0:
		return pki.LoadBundle(clientCA)
	case t.SPIFFE != nil && len(t.ClientCA) == 0:
		return nil, errors.New("the trust bundle is the SPIFFE agent's; give it as --client-ca FILE")
	case t.StepCA != nil:
		var roots []*x509.Certificate
		ca, err := stepca.New(t.StepCA.URL, stepca.Options{Fingerprint: t.StepCA.Fingerprint, Now: opts.Now})
		if err == nil {
			roots, err = ca.StoredRoots(filepath.Join(string(c.State), "stepca"), t.StepCA.Federation)
		}
		if err != nil && len(t.ClientCA) == 0 {
			return nil, fmt.Errorf("the roots of step-ca are not stored here yet (%w); give them as --client-ca FILE", err)
		}
		if len(t.ClientCA) == 0 || t.StepCA.ClientRoots {
			p.origin = &stored{roots: roots}
		}
	}
	return p.bundle()
}

// lookChain returns the gate's own chain, for the CAs in it.
func lookChain(c *config.Config) ([]*x509.Certificate, error) {
	f := c.TLS.Files()
	if c.TLS.StepCA != nil {
		f.Cert = filepath.Join(string(c.State), "stepca", "current", "tls.crt")
	}
	return f.LoadChain()
}

// stored is an origin of which only the roots are asked.
type stored struct {
	files
	roots []*x509.Certificate
}

func (s *stored) anchors(*config.TLS) ([]*x509.Certificate, []pki.Domain) { return s.roots, nil }
func (s *stored) certificate() (*tls.Certificate, error)                  { return nil, errors.New("not looked at") }
