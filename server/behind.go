package server

import (
	"context"
	"crypto/tls"
	"slices"

	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/tool"
)

// catalog makes one of the built-ins that c has, of tools made of Go functions, of
// those that are declared, and of what upstreams have. Of two upstreams' tools with
// one name the later is left out. Callers hold mu, or are New.
func (s *Server) catalog(c *config.Config, own *tool.Offer, declared []*tool.Tool) (*tool.Catalog, error) {
	static, err := tool.NewCatalog(slices.Concat(c.Tools.Chosen(s.builtins), own.Tools, declared))
	if err != nil {
		return nil, err
	}
	all, twice := static.Join(append([]*tool.Offer{{Resources: own.Resources, Prompts: own.Prompts}}, s.backend.Offers()...))
	if before := s.twice.Load(); before == nil || !slices.Equal(twice, *before) {
		for _, t := range twice {
			s.log.Error("left out: the name is given to two; set a prefix for one of them", "name", t.Name, "upstream", t.Upstream, "with", t.With)
		}
		s.twice.Store(&twice)
	}
	return all, nil
}

// offersChanged puts in force that upstreams have something else.
func (s *Server) offersChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.catalog(s.config.Load(), &s.own, s.backend.Declared())
	if err != nil {
		s.log.Error("tools not changed, those in force stay", "err", err)
		return
	}
	s.swap(func(next *auth.Snapshot) { next.Tools = c })
}

// ownCertificate is the gate's, as it is in force.
func (s *Server) ownCertificate() (*tls.Certificate, error) {
	return s.gate.Snapshot().PKI.Certificate, nil
}

// reloadCredentials has upstreams look again whose credential another process has
// changed.
func (s *Server) reloadCredentials(ctx context.Context) error {
	v := s.backend.Vault()
	if v == nil {
		return nil
	}
	list, err := v.List(ctx)
	s.mu.Lock()
	if s.failed.credentials.news(err) {
		s.log.Error("credentials not read", "err", err)
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	before := s.versions
	s.versions = versionsOf(list)
	now := s.versions
	s.mu.Unlock()
	for id, version := range now {
		if before != nil && before[id] != version {
			s.backend.Refresh(id)
		}
	}
	for id := range before {
		if _, ok := now[id]; !ok {
			s.backend.Refresh(id)
		}
	}
	return nil
}

func versionsOf(list []credential.Info) map[int64]int64 {
	out := make(map[int64]int64, len(list))
	for _, c := range list {
		out[c.ID] = c.Version
	}
	return out
}
