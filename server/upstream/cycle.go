package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sangate/sangate/server/credential"
)

// cycle looks once, over a new link where the one there is has broken.
func (s *Server) cycle(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, s.conf.Timeout())
	defer cancel()
	owner, err := s.owner(asking)
	if err != nil {
		s.failed(err)
		return err
	}
	list, err := s.look(asking)
	if err != nil {
		s.failed(err)
		return err
	}
	for _, entries := range [][]json.RawMessage{list.tools, list.resources, list.templates, list.prompts} {
		for i := range entries {
			entries[i] = s.scrub.JSON(entries[i])
		}
	}
	return s.found(ctx, list, owner)
}

func (s *Server) look(ctx context.Context) (*listing, error) {
	s.mu.Lock()
	l := s.link
	s.mu.Unlock()
	shown := s.certificate()
	if l != nil && bytes.Equal(shown, s.shown) {
		list, err := l.look(ctx)
		if err == nil {
			return list, nil
		}
		s.drop(l) // a link that does not answer is no better than one that has broken
		if ctx.Err() != nil {
			return nil, err
		}
		l = nil
	}
	next, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	list, err := next.look(ctx)
	if err != nil {
		next.close()
		return nil, err
	}
	s.mu.Lock()
	s.link = next
	s.mu.Unlock()
	s.shown = shown
	if l != nil { // by a certificate that was renewed: what is in progress may end
		s.log.Info("certificate renewed; connected anew")
		s.background.Go(func() {
			select {
			case <-time.After(s.conf.Timeout()):
			case <-s.stopped:
			}
			l.close()
		})
	}
	return list, nil
}

// certificate is the one that is shown to the upstream; nil where none is.
func (s *Server) certificate() []byte {
	get := Certificate(s.conf.ClientCertificate, s.opts.Certificate)
	if get == nil {
		return nil
	}
	cert, err := get()
	if err != nil {
		return s.shown // a handshake will say what is wrong with it
	}
	return cert.Certificate[0]
}

// owner is the tenant whose credential it is, "" where anybody's.
func (s *Server) owner(ctx context.Context) (string, error) {
	if s.conf.CredentialID == 0 {
		return "", nil
	}
	secret, err := s.secret(ctx)
	if err != nil {
		return "", err
	}
	return secret.Tenant, nil
}

func (s *Server) secret(ctx context.Context) (*credential.Secret, error) {
	secret, err := s.opts.Resolver.Resolve(ctx, credential.Ref{ID: s.conf.CredentialID})
	if err != nil {
		return nil, fmt.Errorf("mcpServers %s refers to it: %w", s.conf.Name, err)
	}
	return secret, nil
}
