package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/pki/sanrule"
	"github.com/sangate/sangate/server/config"
)

// revocationLoad bounds the wait for lists at the start and when the
// configuration names others.
const revocationLoad = 15 * time.Second

// revoked is a revocation.Set as a pki.Snapshot holds it.
type revoked struct{ set *revocation.Set }

func (r *revoked) Prepare(chain []*x509.Certificate, names []pki.SAN) any {
	return revocation.KeysOf(chain, names)
}

func (r *revoked) Check(prepared any, now time.Time) (pki.Reason, string) {
	switch result := r.set.Check(prepared.(*revocation.Keys), now); result.Status {
	case revocation.Good:
		return "", ""
	case revocation.Revoked:
		return pki.Revoked, result.Detail()
	default:
		return pki.RevocationUnknown, result.Detail()
	}
}

// A denylist is the operator's file as it was last read.
type denylist struct {
	digest [sha256.Size]byte
	list   *revocation.Denylist
}

// revocationState is what loadPKI makes the snapshot's Revocation of. Under mu.
type revocationState struct {
	source *revocation.Source // nil: no lists are configured
	deny   denylist
	lists  []*revocation.CRL // those that cur was made of
	mode   string
	cur    *revoked
}

// newLists makes what keeps the configured CRLs fresh, or nil. Lists are taken
// of the CAs that clients are verified by, and of those above our own leaf:
// step-ca signs both, and its lists, with its intermediate.
func (s *Server) newLists(c *config.Config) (*revocation.Source, error) {
	r := c.TLS.Revocation
	if r == nil || len(r.CRL) == 0 {
		return nil, nil
	}
	files, urls := r.Lists()
	return revocation.NewSource(revocation.SourceOptions{
		Files: files, URLs: urls,
		Issuers:   s.issuers,
		Transport: listTransport{s.issuers},
		Now:       s.opts.Now,
		Logger:    s.log,
		OnUpdate:  s.metrics.List,
		Notify:    func([]*revocation.CRL) { s.certificatesChanged() },
	})
}

// noteIssuers keeps the CA certificates of what was loaded for issuers.
func (s *Server) noteIssuers(snap *pki.Snapshot) {
	list := append([]*x509.Certificate(nil), snap.Bundle.Certificates()...)
	for _, der := range snap.Certificate.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			list = append(list, c)
		}
	}
	s.cas.Store(&list)
}

// issuers returns the CA certificates that were loaded last.
func (s *Server) issuers() []*x509.Certificate { return *s.cas.Load() }

// A listTransport fetches lists over connections that the CAs in force vouch
// for; it keeps none open, for the hour between two looks.
type listTransport struct{ issuers func() []*x509.Certificate }

func (t listTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	roots := x509.NewCertPool()
	for _, c := range t.issuers() {
		roots.AddCert(c)
	}
	once := &http.Transport{DisableKeepAlives: true, DisableCompression: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return once.RoundTrip(r)
}

// revocation returns what is known of revocation now: the same value as before
// where nothing changed. Callers hold mu, or are New.
func (s *Server) revocation() (pki.Revocation, error) {
	r, st := s.config.TLS.Revocation, &s.revoking
	if r == nil {
		st.cur = nil
		return nil, nil
	}
	deny, err := readDenylist(string(r.Denylist), st.deny)
	if err != nil {
		return nil, err
	}
	var lists []*revocation.CRL
	var missing []string
	if st.source != nil {
		lists, missing = st.source.Lists(), st.source.Missing()
	}
	if st.cur != nil && deny.list == st.deny.list && st.mode == r.CRLMode && sameLists(lists, st.lists) {
		return st.cur, nil
	}
	opts := revocation.SetOptions{Missing: missing}
	if r.CRLMode == "soft" || len(r.CRL) == 0 {
		opts.Mode = revocation.Soft
	}
	st.deny, st.lists, st.mode = deny, lists, r.CRLMode
	st.cur = &revoked{revocation.NewSet(lists, deny.list, opts)}
	return st.cur, nil
}

func sameLists(a, b []*revocation.CRL) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// readDenylist reads the file unless it says what it said before.
func readDenylist(file string, before denylist) (denylist, error) {
	if file == "" {
		return denylist{}, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return before, fmt.Errorf("denylist: %w", err)
	}
	next := denylist{digest: sha256.Sum256(data)}
	if before.list != nil && next.digest == before.digest {
		return before, nil
	}
	next.list, err = revocation.ParseDenylist(bytes.NewReader(data), file, func(rule string) (func(pki.SAN) bool, error) {
		parsed, err := sanrule.Parse(rule)
		if err != nil {
			return nil, err
		}
		var set sanrule.Set[bool]
		if err := set.Add(parsed, true); err != nil {
			return nil, err
		}
		return func(san pki.SAN) bool { _, found := set.Lookup(san); return found }, nil
	})
	return next, err
}

// loadLists looks at all lists at once. What does not load is retried by Run;
// until then crlMode says what that means.
func (s *Server) loadLists(ctx context.Context, source *revocation.Source) error {
	if source == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, revocationLoad)
	defer cancel()
	if err := source.Load(ctx); err != nil && !errors.Is(err, revocation.ErrStale) {
		return fmt.Errorf("revocation lists: %w", err)
	}
	return nil
}

// firstLists makes the source of the lists and looks at them once. A list that
// is not to be had does not keep the gate from starting: crlMode says who gets
// in without it.
func (s *Server) firstLists(ctx context.Context) error {
	snap, err := s.loadMaterial()
	if err != nil {
		return err
	}
	s.noteIssuers(snap)
	if s.revoking.source, err = s.newLists(s.config); err != nil {
		return err
	}
	if err := s.loadLists(ctx, s.revoking.source); err != nil {
		s.log.Error("starting without all revocation lists", "crlMode", s.config.TLS.Revocation.CRLMode, "err", err)
	}
	return nil
}
