package material

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/spiffe"
	"github.com/sangate/sangate/server/config"
)

// workload comes from the SPIFFE Workload API and lies nowhere but in memory.
type workload struct {
	source  *spiffe.Source
	address string
}

func (k *Keeper) newWorkload(s *config.SPIFFE) (origin, error) {
	source, err := spiffe.New(spiffe.Options{
		Address:   s.Socket,
		ID:        s.ID,
		Federated: s.Federated,
		Logger:    k.opts.Logger,
		Now:       k.opts.Now,
		OnEvent: func(e spiffe.Event) {
			if e.Err != nil || e.Changed {
				k.opts.OnUpdate(e.Err)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	source.Notify(k.tell)
	return &workload{source, s.Socket}, nil
}

func (w *workload) String() string {
	if w.address == "" {
		return "the SPIFFE agent"
	}
	return w.address
}

func (w *workload) run(ctx context.Context) error { return w.source.Run(ctx) }
func (w *workload) refresh()                      {}
func (w *workload) next() time.Time               { return time.Time{} }
func (w *workload) ready(*config.TLS) bool        { return w.source.Certificate() != nil }

func (w *workload) certificate() (*tls.Certificate, error) {
	if cert := w.source.Certificate(); cert != nil {
		return cert, nil
	}
	return nil, errors.New("the SPIFFE agent has given no certificate yet, or the last one has ended")
}

// LeftOut says what of the SPIFFE agent's update in force was left out, and why.
func (k *Keeper) LeftOut() []string {
	if w, ok := k.parts().origin.(*workload); ok {
		return w.source.LeftOut()
	}
	return nil
}

// anchors are bound to their trust domains: what is not ours is a partner's.
func (w *workload) anchors(*config.TLS) ([]*x509.Certificate, []pki.Domain) {
	var domains []pki.Domain
	own := w.source.TrustDomain()
	for name, authorities := range w.source.Bundles() {
		domains = append(domains, pki.Domain{Name: name, Authorities: authorities, Foreign: name != own})
	}
	slices.SortFunc(domains, func(a, b pki.Domain) int { return strings.Compare(a.Name, b.Name) })
	return nil, domains
}
