package stepca

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.step.sm/crypto/keyutil"
	"go.step.sm/crypto/x509util"
)

// managed is the [Issuer] of a Manager's renewer.
type managed struct{ m *Manager }

// Renew asks for the roots first: during a rotation the answer may be under a
// new one.
func (i managed) Renew(ctx context.Context, old *Pair) (*Pair, error) {
	i.m.refreshRoots(ctx)
	return i.m.ca.Renew(ctx, old)
}

// Rekey takes a new key of the kind that is wanted now, or keeps the KMS's.
func (i managed) Rekey(ctx context.Context, old *Pair) (*Pair, error) {
	i.m.refreshRoots(ctx)
	if i.m.opts.KeyURI == "" {
		key, err := i.m.opts.Request.Key.generate()
		if err != nil {
			return nil, err
		}
		return i.m.ca.RekeyTo(ctx, old, key)
	}
	key, err := i.m.openKey()
	if err != nil {
		return nil, err
	}
	if keyutil.Equal(old.Key().Public(), key.Public()) {
		return i.m.ca.Renew(ctx, old)
	}
	return i.m.ca.RekeyTo(ctx, old, key)
}

// enrol asks for the roots first, too: whoever has a certificate needs them, and
// at a start without the authority they would come up to a minute later.
func (m *Manager) enrol(ctx context.Context) (*Pair, error) {
	m.refreshRoots(ctx)
	req := m.opts.Request
	req.Signer = nil
	if m.opts.KeyURI != "" {
		key, err := m.openKey()
		if err != nil {
			return nil, err
		}
		req.Signer = key
	}
	pair, err := m.opts.Enroller.Enrol(ctx, req)
	if err == nil && !goodFor(pair.Leaf(), x509.ExtKeyUsageServerAuth) {
		return nil, fmt.Errorf("%w: it is not for serverAuth, so no client would take it; look at the template of the provisioner", ErrVet)
	}
	return pair, err
}

// openKey opens the KMS's key once.
func (m *Manager) openKey() (crypto.Signer, error) {
	m.keyMu.Lock()
	defer m.keyMu.Unlock()
	if m.key != nil {
		return m.key, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
	defer cancel()
	key, err := OpenKey(ctx, m.opts.KeyURI, m.opts.Request.Key)
	if err == nil {
		m.key = key
	}
	return key, err
}

// stale tells that a kept pair is not what is asked for: it lacks a name, or is
// another authority's. Another key than is wanted waits for the next renewal.
func (m *Manager) stale(p *Pair) bool {
	req := m.opts.Request
	sans := req.SANs
	if len(sans) == 0 && req.Subject != "" {
		sans = []string{req.Subject}
	}
	var want x509.Certificate
	want.DNSNames, want.IPAddresses, want.EmailAddresses, want.URIs = x509util.SplitSANs(sans)
	got := names(p.Leaf())
	for _, name := range names(&want) {
		if _, ok := slices.BinarySearch(got, name); !ok {
			m.opts.Logger.Info("the certificate kept lacks a name that is wanted now, enrolling again", "name", name)
			return true
		}
	}
	anchors := m.ca.known()
	if len(anchors) == 0 {
		return false
	}
	_, err := p.Leaf().Verify(x509.VerifyOptions{
		Roots: pool(anchors), Intermediates: pool(p.Chain()[1:]), CurrentTime: m.opts.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		m.opts.Logger.Info("the certificate kept is another authority's, enrolling again")
		return true
	}
	return false
}

// followRoots asks for the roots at once, and then again and again: sooner
// where it did not work.
func (m *Manager) followRoots(ctx context.Context) {
	for {
		wait := m.opts.RootsEvery
		if m.refreshRoots(ctx) != nil {
			wait = min(wait, time.Minute)
		}
		t := time.NewTimer(wait - time.Duration(jitter()*float64(wait)/10))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		case <-m.again:
			t.Stop()
		}
	}
}
