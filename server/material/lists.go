package material

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/server/config"
)

// listsLoad bounds the wait for lists at the start and when the configuration
// names others.
const listsLoad = 15 * time.Second

// newLists makes what keeps the configured CRLs fresh, or nil. Lists are taken
// of the CAs that clients are verified by, and of those above our own leaf:
// step-ca signs both, and its lists, with its intermediate.
func (k *Keeper) newLists(r config.Revocation, state config.Path) (*revocation.Source, error) {
	if len(r.CRL) == 0 {
		return nil, nil
	}
	files, urls := r.Lists()
	return revocation.NewSource(revocation.SourceOptions{
		Files: files, URLs: urls,
		Dir:       filepath.Join(string(state), "crl"),
		ReadOnly:  k.still,
		Before:    k.parts().lists,
		Issuers:   k.issuers,
		Anchors:   func() []*x509.Certificate { return *k.anchors.Load() },
		Admit:     k.opts.AdmitList,
		Kept:      k.opts.ListKept,
		Transport: listTransport{keeper: k},
		Now:       k.opts.Now,
		Logger:    k.opts.Logger,
		OnUpdate:  k.opts.OnList,
		Notify:    func([]*revocation.CRL) { k.tell() },
	})
}

// loadLists looks at all lists of p at once. What does not load is retried by
// Run; until then crlMode says what that means. A list past its end is no error.
func (k *Keeper) loadLists(ctx context.Context, p parts) error {
	if p.lists == nil {
		return nil
	}
	snap, certErr, bundleErr := p.read() // for who may have signed them
	if err := errors.Join(certErr, bundleErr); err != nil {
		return err
	}
	k.noteIssuers(&snap)
	ctx, cancel := context.WithTimeout(ctx, listsLoad)
	defer cancel()
	if err := p.lists.Load(ctx); err != nil && !errors.Is(err, revocation.ErrStale) {
		return fmt.Errorf("revocation lists: %w", err)
	}
	return nil
}

// noteIssuers keeps the CA certificates of what was loaded for issuers. Where
// there are others than before, a list that nobody had signed may now do.
func (k *Keeper) noteIssuers(snap *pki.Snapshot) {
	anchors := snap.Bundle.Certificates()
	list := slices.Clone(anchors)
	for _, der := range snap.Certificate.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			list = append(list, c)
		}
	}
	k.anchors.Store(&anchors)
	before := k.cas.Swap(&list)
	if before != nil && !slices.EqualFunc(*before, list, (*x509.Certificate).Equal) {
		k.ReadLists()
	}
}

// issuers returns the CA certificates that were loaded last, and those that
// clients have brought.
func (k *Keeper) issuers() []*x509.Certificate {
	all := *k.cas.Load()
	if seen := k.seen.Load(); seen != nil {
		all = slices.Clone(all)
		for _, s := range *seen {
			all = append(all, s.cert)
		}
	}
	return all
}

// A listTransport fetches lists over connections that the CAs in force vouch
// for; it keeps none open, for the hour between two looks.
type listTransport struct {
	keeper *Keeper
	dial   func(ctx context.Context, network, address string) (net.Conn, error) // nil: whatever is configured
}

func (t listTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	roots := x509.NewCertPool()
	for _, c := range *t.keeper.cas.Load() { // not those that clients have brought
		roots.AddCert(c)
	}
	if t.keeper.still {
		return nil, errors.New("nothing is fetched for a look")
	}
	once := &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: revocation.MaxHeaderBytes,
		DialContext:     t.dial,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return once.RoundTrip(r)
}
