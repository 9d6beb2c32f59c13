package material

import (
	"crypto/x509"
	"fmt"

	"github.com/sangate/sangate/pki/ocsp"
	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/server/config"
)

// ocspName is what responders are called as the source of a refusal.
const ocspName = "ocsp"

// newOCSP makes what asks the responders, or nil.
func (k *Keeper) newOCSP(r config.Revocation) (*ocsp.Cache, error) {
	if !r.AsksOCSP() {
		return nil, nil
	}
	return ocsp.New(ocsp.Options{
		Responder:     r.OCSPResponder,
		CheckDelegate: k.checkDelegate,
		Transport:     listTransport{k},
		Now:           k.opts.Now,
		Logger:        k.opts.Logger,
		OnAnswer:      k.opts.OnOCSP,
	})
}

// checkDelegate refuses a responder whose own certificate is on a list.
func (k *Keeper) checkDelegate(chain []*x509.Certificate) error {
	k.mu.Lock()
	in := k.joined.result
	k.mu.Unlock()
	if in == nil {
		return nil
	}
	if result := in.set.CheckChain(chain, nil, k.opts.Now()); result.Status == revocation.Revoked {
		return fmt.Errorf("the responder's certificate is revoked: %s", result.Detail())
	}
	return nil
}
