package server

import (
	"context"
	"time"

	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/answer"
)

// series has metrics exist for all that the configuration names, and for nothing
// else. Callers hold mu, or are New.
func (s *Server) series() {
	c := s.config.Load()
	named := admin.Configured{Denylists: []string{deniedByAPI}}
	for name := range s.pki.Lists() {
		named.Lists = append(named.Lists, name)
	}
	if r := c.TLS.Revocation; r != nil && r.Denylist != "" {
		named.Denylists = append(named.Denylists, string(r.Denylist))
	}
	for _, i := range c.Issuers {
		named.Issuers = append(named.Issuers, i.Name)
	}
	for _, m := range c.MCPServers {
		if m.Enabled {
			named.Upstreams = append(named.Upstreams, m.Name)
		}
	}
	s.metrics.Configured(named)
	if c.TLS.StepCA == nil {
		s.metrics.NextRenewal(time.Time{})
	}
}

// exchanged hears how long an upstream took to answer a request's call.
func (s *Server) exchanged(ctx context.Context, upstream string, took time.Duration) {
	s.metrics.Exchange(upstream, took, answer.RequestID(ctx))
}
