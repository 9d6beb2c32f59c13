// Package upstream is what other MCP servers have to offer, as tools, resources
// and prompts of the gate.
//
// Each [Server] has a cycle of its own: it connects, asks what there is, and asks
// again after a while, when the server says that it has changed, and after a 401.
// One that fails keeps what it offered last, marked unavailable, and holds up no
// other. Nothing of a caller's request but the arguments is passed on, and no
// secret is held beyond the exchange it is for.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/tool"
)

// The pace of a cycle that fails, and the least time between two.
const (
	minGap     = 250 * time.Millisecond
	minBackoff = time.Second
	maxBackoff = time.Minute
)

// Options of a Server; all must be set.
type Options struct {
	Logger     *slog.Logger
	Guard      *egress.Guard
	Resolver   credential.Resolver
	Authorizer *credential.Authorizer
	// Certificate is the gate's own, for those that are to see it.
	Certificate func() (*tls.Certificate, error)
	// Changed is called when there is something else on offer.
	Changed func()
	// OnCycle hears how each look went, OnExchange how long each exchange took.
	OnCycle    func(server string, err error)
	OnExchange func(server string, took time.Duration)
	Version    string
}

// A Server is one upstream. Run it.
type Server struct {
	conf *config.MCPServer
	opts Options
	log  *slog.Logger
	wake chan struct{}

	mu      sync.Mutex
	link    link // nil: none
	offer   *offer
	up      bool
	lastErr error
}

// A link is a connection to an upstream in one of the protocols.
type link interface {
	// look asks what there is.
	look(ctx context.Context) (*listing, error)
	call(ctx context.Context, name string, call *tool.Call) (*tool.Result, error)
	read(ctx context.Context, uri string) (*tool.Result, error)
	prompt(ctx context.Context, name string, args map[string]string) (*tool.Result, error)
	close()
}

// New makes an upstream.
func New(conf *config.MCPServer, opts Options) *Server {
	return &Server{conf: conf, opts: opts, log: opts.Logger.With("upstream", conf.Name), wake: make(chan struct{}, 1)}
}

// Name is the configured one.
func (s *Server) Name() string { return s.conf.Name }

// Wake has it look again soon.
func (s *Server) Wake() {
	select {
	case s.wake <- struct{}{}:
	default: // it will anyway
	}
}

// Run looks what there is, again and again, until ctx ends.
func (s *Server) Run(ctx context.Context) {
	defer s.drop(nil)
	backoff := minBackoff
	for {
		begun := time.Now()
		err := s.cycle(ctx)
		if ctx.Err() != nil {
			return
		}
		s.opts.OnCycle(s.conf.Name, err)
		wait := s.conf.Refresh
		if err != nil {
			wait, backoff = min(backoff, wait), min(2*backoff, maxBackoff)
		} else {
			backoff = minBackoff
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
		select { // whoever cries for attention all the time gets it at this pace
		case <-time.After(minGap - time.Since(begun)):
		case <-ctx.Done():
			return
		}
	}
}

// cycle looks once, over a new link where the one there is has broken.
func (s *Server) cycle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.conf.Timeout())
	defer cancel()
	owner, err := s.owner(ctx)
	if err != nil {
		s.failed(err)
		return err
	}
	list, err := s.look(ctx)
	if err != nil {
		s.failed(err)
		return err
	}
	s.found(list, owner)
	return nil
}

func (s *Server) look(ctx context.Context) (*listing, error) {
	s.mu.Lock()
	l := s.link
	s.mu.Unlock()
	if l != nil {
		list, err := l.look(ctx)
		if err == nil || ctx.Err() != nil {
			return list, err
		}
		s.drop(l)
	}
	l, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	list, err := l.look(ctx)
	if err != nil {
		l.close()
		return nil, err
	}
	s.mu.Lock()
	s.link = l
	s.mu.Unlock()
	return list, nil
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

// drop closes the link, where it is still that one; nil is any.
func (s *Server) drop(l link) {
	s.mu.Lock()
	current := s.link
	if l == nil || current == l {
		s.link = nil
	} else {
		current = nil
	}
	s.mu.Unlock()
	if current != nil {
		current.close()
	}
}

// failed keeps what was on offer, and marks it.
func (s *Server) failed(err error) {
	s.mu.Lock()
	was, first := s.up, s.lastErr == nil
	s.up, s.lastErr = false, err
	if s.offer != nil && was {
		s.offer = s.offer.marked(false)
	}
	s.mu.Unlock()
	if was || first {
		s.log.Error("upstream is unavailable; what it offered last stays, marked so", "err", err)
	} else {
		s.log.Debug("upstream is still unavailable", "err", err)
	}
	if was {
		s.opts.Changed()
	}
}

// found takes up what is on offer.
func (s *Server) found(list *listing, owner string) {
	s.mu.Lock()
	was, old := s.up, s.offer
	s.mu.Unlock()
	next := old
	if old == nil || old.owner != owner || !old.listing.equal(list) {
		next = s.vet(list, owner)
		s.log.Info("upstream found", "tools", len(next.Tools), "resources", len(next.Resources), "prompts", len(next.Prompts), "of", len(list.tools))
	} else if !was {
		next = old.marked(true)
		s.log.Info("upstream is back")
	}
	s.mu.Lock()
	s.up, s.lastErr, s.offer = true, nil, next
	s.mu.Unlock()
	if next != old {
		s.opts.Changed()
	}
}

// Offer returns what there is; nil before it was seen. Not to be changed.
func (s *Server) Offer() *tool.Offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.offer == nil {
		return nil
	}
	return &s.offer.Offer
}

// current returns the link, where the upstream is up.
func (s *Server) current() (link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up || s.link == nil {
		return nil, &tool.UpstreamError{Kind: tool.UpstreamUnavailable, Err: fmt.Errorf("upstream %s is unavailable: %w", s.conf.Name, s.lastErr)}
	}
	return s.link, nil
}

// exchange runs one with the upstream, within its timeout.
func (s *Server) exchange(ctx context.Context, do func(context.Context, link) (*tool.Result, error)) (*tool.Result, error) {
	l, err := s.current()
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, s.conf.Timeout())
	defer cancel()
	start := time.Now()
	res, err := do(within, l)
	s.opts.OnExchange(s.conf.Name, time.Since(start))
	switch {
	case err == nil:
		return res, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case within.Err() != nil:
		return nil, &tool.UpstreamError{Kind: tool.UpstreamTimeout, Err: fmt.Errorf("upstream %s: nothing within %s", s.conf.Name, s.conf.Timeout())}
	}
	if _, ok := errors.AsType[*tool.Failure](err); ok {
		return nil, err
	}
	failed, ok := errors.AsType[*tool.UpstreamError](err)
	if !ok {
		failed = &tool.UpstreamError{Kind: tool.UpstreamFailed, Err: err}
	}
	if !failed.Said {
		s.Wake() // the link may be broken, or the credential another
	}
	return nil, &tool.UpstreamError{Kind: failed.Kind, Said: failed.Said, Err: fmt.Errorf("upstream %s: %w", s.conf.Name, failed.Err)}
}
