package server

import (
	"context"
	"crypto/tls"
	"slices"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/tool"
)

// maxCollisionLines bounds the lines of the log about names that newly collide.
const maxCollisionLines = 20

// A joined catalog is ready to be put in force.
type joined struct {
	catalog *tool.Catalog
	claims  tool.Claims
	twice   []tool.Collision
}

// join makes a catalog of the built-ins that c has, of tools made of Go functions, of
// those that are declared, and of what documents and upstreams have. A name stays with
// the document or upstream that has it. Callers hold mu, or are New.
func (s *Server) join(c *config.Config, own *tool.Offer, declared []*tool.Tool) (*joined, error) {
	static, err := tool.NewCatalog(slices.Concat(c.Tools.Chosen(s.builtins), own.Tools, declared))
	if err != nil {
		return nil, err
	}
	offers := append([]*tool.Offer{{Resources: own.Resources, Prompts: own.Prompts}}, s.backend.Offers()...)
	j := new(joined)
	j.catalog, j.claims, j.twice = static.Join(offers, s.backend.Sources(), s.claims)
	return j, nil
}

// adopt notes who has which name from now on, logs what is newly left out, and returns
// the catalog. Callers hold mu, or are New.
func (s *Server) adopt(j *joined) *tool.Catalog {
	s.claims = j.claims
	before := make(map[tool.Collision]bool)
	if told := s.twice.Load(); told != nil {
		for _, t := range *told {
			before[t] = true
		}
	}
	lines := 0
	for _, t := range j.twice {
		if before[t] {
			continue
		}
		if lines++; lines <= maxCollisionLines {
			s.log.Error("name conflict: leaving out the one that came later; set `prefix` on one of the two",
				"name", pki.Cut(t.Name, 128), "upstream", t.Source, "with", t.With, "kind", t.Kind)
		}
	}
	if lines > maxCollisionLines {
		s.log.Error("more name conflicts; the console shows them", "conflicts", lines-maxCollisionLines)
	}
	s.twice.Store(&j.twice)
	return j.catalog
}

// offersChanged puts in force that upstreams have something else.
func (s *Server) offersChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.join(s.config.Load(), &s.own, s.backend.Declared())
	if err != nil {
		s.log.Error("tools not changed, those in force stay", "err", err)
		return
	}
	c := s.adopt(j)
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
