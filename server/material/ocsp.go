package material

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"

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
	opts := ocsp.Options{
		Responder:     r.OCSPResponder,
		MayName:       k.mayName,
		CheckDelegate: k.checkDelegate,
		Transport:     listTransport{keeper: k},
		Now:           k.opts.Now,
		Logger:        k.opts.Logger,
		OnAnswer:      k.opts.OnOCSP,
	}
	if r.OCSPResponder == "" { // certificates name it
		opts.Transport = listTransport{keeper: k, dial: k.dialNamed}
	}
	return ocsp.New(opts)
}

// mayName reports whether an issuer is a client CA itself: those below one may be a client's.
func (k *Keeper) mayName(issuer *x509.Certificate) bool { return k.Snapshot().Bundle.Holds(issuer) }

// dialNamed dials an address that a certificate names, if the configuration in force allows it.
func (k *Keeper) dialNamed(ctx context.Context, network, address string) (net.Conn, error) {
	return k.parts().config.Egress.Guard().DialContext(ctx, network, address)
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
