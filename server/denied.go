package server

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/server/api"
	"github.com/sangate/sangate/server/material"
	"github.com/sangate/sangate/server/store"
)

// deniedByAPI is what the denylist in the state store is called in logs and in
// sangate_revocations_total.
const deniedByAPI = "/api/revocations"

// readDenied reads the denylist in the state store; the list is nil where it is
// empty. Callers hold mu, or are New.
func (s *Server) readDenied(ctx context.Context) (stored []store.Revocation, list *revocation.Denylist, err error) {
	stored, err = s.store.Revocations(ctx)
	if err == nil {
		list, err = StoredDenylist(stored)
	}
	return stored, list, err
}

// StoredDenylist makes a denylist of what is in the state store; nil where there
// is nothing.
func StoredDenylist(stored []store.Revocation) (*revocation.Denylist, error) {
	if len(stored) == 0 {
		return nil, nil
	}
	lines, ids := make([]string, len(stored)), make([]string, len(stored))
	for i, r := range stored {
		lines[i], ids[i] = r.Entry, strconv.FormatInt(r.ID, 10)
	}
	list, err := material.ParseDenylist(strings.NewReader(strings.Join(lines, "\n")), deniedByAPI)
	if err != nil {
		return nil, err
	}
	return list.WithLabels(ids), nil
}

// reloadDenied puts the denylist in the state store in force, where it is
// another than before.
func (s *Server) reloadDenied(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, list, err := s.readDenied(ctx)
	if s.failed.denied.news(err) {
		s.log.Error("denylist of the state store not reloaded, the one in force stays", "err", err)
	}
	if err != nil || slices.Equal(stored, s.denied) {
		return err
	}
	s.denied = stored
	s.pki.Deny(list)
	changed, err := s.pki.Reload()
	if err != nil {
		s.log.Warn("something else could not be reloaded with the denylist", "err", err)
	}
	if changed {
		s.takeUp()
		s.log.Info("denylist of the state store reloaded", "generation", s.gate.Snapshot().Generation, "entries", len(stored))
	}
	return nil
}

// vetRevocation reports what is wrong with one line of a denylist that the
// request wants added.
func (s *Server) vetRevocation(r *http.Request, entry string) error {
	list, err := material.ParseDenylist(strings.NewReader(entry), "entry")
	switch {
	case err != nil:
		return err
	case list.Len() != 1:
		return api.ErrEmpty
	case material.Denies(list, peerOf(r), s.gate.Snapshot().PKI, s.opts.Now()):
		return api.ErrOwn
	}
	return nil
}
