package spiffe

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrVet is in the error of every update that was not taken.
var ErrVet = errors.New("the agent's update is not taken")

const (
	maxChain       = 10    // certificates of an SVID
	maxAuthorities = 1_000 // of one trust domain
)

// vet makes of an update what can be put in force.
//
// It was sifted, and go-spiffe has parsed all of it by now, and seen of every SVID: exactly one URI
// name, which is a SPIFFE ID with a path; no CA; digitalSignature and neither
// keyCertSign nor cRLSign; only CAs after the leaf; the leaf's own key. It has
// not looked at dates, at the bundle, or at whether the one leads to the other.
func (s *Source) vet(x *workloadapi.X509Context) (held, error) {
	svid, err := s.choose(x.SVIDs)
	if err != nil {
		return held{}, err
	}
	leaf := svid.Certificates[0]
	if err := s.vetIdentity(leaf, svid.ID); err != nil {
		return held{}, err
	}
	if len(svid.Certificates) > maxChain {
		return held{}, fmt.Errorf("%d certificates in the chain, at most %d are taken", len(svid.Certificates), maxChain)
	}
	bundles, err := s.vetBundles(x.Bundles, svid.ID.TrustDomain())
	if err != nil {
		return held{}, err
	}
	now := s.opts.Now()
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return held{}, fmt.Errorf("it holds from %s to %s and it is now %s; compare this machine's clock with the server's",
			leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if _, _, err := x509svid.Verify(svid.Certificates, x.Bundles, x509svid.WithTime(now)); err != nil {
		return held{}, err
	}
	crt := &tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: leaf}
	for _, c := range svid.Certificates {
		crt.Certificate = append(crt.Certificate, c.Raw)
	}
	return held{id: svid.ID, cert: crt, bundles: bundles}, nil
}

// choose returns the SVID by ID, by hint, or else the first, which is the
// default one (Workload API, 5.3).
func (s *Source) choose(all []*x509svid.SVID) (*x509svid.SVID, error) {
	if s.id.IsZero() && s.opts.Hint == "" && len(all) > 0 {
		return all[0], nil
	}
	for _, svid := range all {
		if !s.id.IsZero() && svid.ID == s.id || s.opts.Hint != "" && svid.Hint == s.opts.Hint {
			return svid, nil
		}
	}
	var offered []string
	for _, svid := range all[:min(len(all), 5)] {
		offered = append(offered, fmt.Sprintf("%s (hint %q)", svid.ID, svid.Hint))
	}
	if s.id.IsZero() {
		return nil, fmt.Errorf("none of %d identities has the hint %q; it offers %q: set -hint of this gate's entry", len(all), s.opts.Hint, offered)
	}
	return nil, fmt.Errorf("%s is not among %d identities; it offers %q: register it with spire-server entry create", s.id, len(all), offered)
}

// vetIdentity holds the SPIFFE ID against what the certificate says, byte for
// byte (go-spiffe compares a parsed URI, which forgives SPIFFE:// and a last #),
// and against the trust domain we are in.
func (s *Source) vetIdentity(leaf *x509.Certificate, id spiffeid.ID) error {
	if err := bounded(id); err != nil {
		return fmt.Errorf("SPIFFE ID %q: %w", id, err)
	}
	if uris := rawURIs(leaf); len(uris) != 1 || uris[0] != id.String() {
		return fmt.Errorf("its URI names are %q and not %q alone", uris, id)
	}
	if was := s.held.Load().id; !was.IsZero() && !id.MemberOf(was.TrustDomain()) {
		return fmt.Errorf("it is of the trust domain %q, and this gate is in %q; if it has moved, restart the gate",
			id.TrustDomain().Name(), was.TrustDomain().Name())
	}
	return nil
}

// rawURIs returns the URI names as they stand in the certificate.
func rawURIs(leaf *x509.Certificate) (uris []string) {
	for _, ext := range leaf.Extensions {
		if !ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		der := cryptobyte.String(ext.Value)
		var names, value cryptobyte.String
		var tag cbasn1.Tag
		der.ReadASN1(&names, cbasn1.SEQUENCE) // crypto/x509 has read it before us
		for names.ReadAnyASN1(&value, &tag) {
			if tag == cbasn1.Tag(6).ContextSpecific() {
				uris = append(uris, string(value))
			}
		}
	}
	return uris
}

// vetBundles returns the bundle of our own domain, without which nothing goes,
// and those of the federated domains that the agent gives, from an update that was
// sifted. A federated bundle that is empty is one that is not given: nobody of that
// domain is trusted.
func (s *Source) vetBundles(set *x509bundle.Set, own spiffeid.TrustDomain) (map[string][]*x509.Certificate, error) {
	bundles := make(map[string][]*x509.Certificate)
	for i, td := range append([]spiffeid.TrustDomain{own}, s.federated...) {
		var authorities []*x509.Certificate
		if b, ok := set.Get(td); ok {
			authorities = b.X509Authorities()
		}
		switch {
		case len(authorities) == 0 && i == 0:
			return nil, fmt.Errorf("the bundle of our own trust domain %q is empty, or no CA's certificate is in it", td.Name())
		case len(authorities) == 0:
			continue
		}
		if len(authorities) > maxAuthorities { // of a partner's, sift has looked at that
			return nil, fmt.Errorf("bundle of %q: %d certificates, at most %d are taken", td.Name(), len(authorities), maxAuthorities)
		}
		slices.SortFunc(authorities, func(a, b *x509.Certificate) int { return slices.Compare(a.Raw, b.Raw) })
		bundles[td.Name()] = slices.CompactFunc(authorities, (*x509.Certificate).Equal)
	}
	return bundles, nil
}
