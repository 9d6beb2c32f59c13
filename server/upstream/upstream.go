// Package upstream is what other MCP servers have to offer, as tools, resources
// and prompts of the gate.
//
// Each [Server] has a cycle of its own: it connects, asks what there is, and asks
// again after a while, when the server says that it has changed, and after a 401.
// One that fails keeps what it offered last, marked unavailable, and holds up no
// other. Nothing of a caller's request but the arguments is passed on. A secret is
// looked up for each exchange; those sent last are remembered only to remove them
// from what the upstream returns.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/tool"
)

// The pace of a cycle that fails, and the least time between two.
const (
	minGap = 250 * time.Millisecond
	// A look follows another after this many times what vetting its offer took.
	vettingShare = 20
	// It begins this many times later than the one before took, but for maxBackoff at most: decoding takes CPU.
	lookShare  = 4
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
	// OnCycle hears how each look went, OnExchange how long each exchange took, with
	// the context of the call that it was for.
	OnCycle    func(server string, err error)
	OnExchange func(ctx context.Context, server string, took time.Duration)
	Version    string
}

// A Server is one upstream. Run it.
type Server struct {
	conf *config.MCPServer
	opts Options
	log  *slog.Logger
	told *slog.Logger // the same, for what it may cause at each look
	wake chan struct{}

	scrub *credential.Scrubber // knows the secrets sent to the upstream, for what comes back

	shown      []byte        // certificate that the link was made by; of Run
	vetting    time.Duration // what the last vetting took; of Run
	stopped    chan struct{}
	background sync.WaitGroup // what waits for the end of a command, or of a link by a renewed certificate
	exchanges  sync.WaitGroup // in progress; grows under mu where there is a link
	conns      conns
	answers    intake.Source // of its calls

	mu      sync.Mutex
	link    link // nil: none
	offer   *offer
	up      bool
	lastErr error

	restarts restarts // of its command
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
	scrub := credential.NewScrubber(append(opts.Guard.Secrets(), conf.Secrets...)...)
	log := slog.New(scrub.Handler(opts.Logger.Handler())).With("upstream", conf.Name)
	return &Server{conf: conf, opts: opts, log: log, told: offerLog(log), scrub: scrub,
		wake: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// Wake has it look again soon.
func (s *Server) Wake() {
	select {
	case s.wake <- struct{}{}:
	default: // it will anyway
	}
}

// Run looks what there is, again and again, until ctx ends and the exchanges in
// progress have. Once.
func (s *Server) Run(ctx context.Context) {
	defer func() {
		last := s.unlink(nil)
		s.exchanges.Wait()
		close(s.stopped)
		if last != nil {
			last.close()
		}
		s.background.Wait()
		s.conns.close()
	}()
	backoff := minBackoff
	for {
		begun := time.Now()
		err := s.scrub.Error(s.contained("look at an upstream", func() error { return s.cycle(ctx) }))
		took := time.Since(begun)
		if err != nil { // it may only have waited; backoff is for that
			took = 0
		}
		if errors.Is(err, contain.ErrPanicked) {
			s.failed(err)
		}
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
		select { // an upstream that changes all the time is looked at no more often than that
		case <-time.After(gap(took, s.vetting) - time.Since(begun)):
		case <-ctx.Done():
			return
		}
	}
}

// gap is the least time from the begin of a look to that of the next one.
func gap(took, vetting time.Duration) time.Duration {
	return max(minGap, vettingShare*vetting, min(lookShare*took, maxBackoff))
}

// drop closes the link, where it is still that one.
func (s *Server) drop(l link) {
	if s.unlink(l) != nil {
		l.close()
	}
}

// unlink takes the link away and returns it, where it is still that one; nil is any.
func (s *Server) unlink(l link) link {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.link
	if l != nil && current != l {
		return nil
	}
	s.link = nil
	return current
}

// failed keeps what was on offer, and marks it.
func (s *Server) failed(err error) {
	err = s.scrub.Error(err)
	s.mu.Lock()
	was, first := s.up, s.lastErr == nil
	s.up, s.lastErr = false, err
	if s.offer != nil && was {
		s.offer = s.offer.marked(false)
	}
	s.mu.Unlock()
	if was || first {
		s.told.Error("upstream is unavailable; what it offered last stays, marked so", "err", err)
	} else {
		s.told.Debug("upstream is still unavailable", "err", err)
	}
	if was {
		s.opts.Changed()
	}
}

// found takes up what is on offer.
func (s *Server) found(ctx context.Context, list *listing, owner string) error {
	s.mu.Lock()
	was, old := s.up, s.offer
	s.mu.Unlock()
	next := old
	if old == nil || old.owner != owner || !old.listing.equal(list) {
		begun := time.Now()
		next = s.vet(ctx, list, owner)
		s.vetting = time.Since(begun)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("vetting the offer: %w", err)
		}
		s.told.Info("upstream found", "tools", len(next.Tools), "resources", len(next.Resources), "prompts", len(next.Prompts), "of", len(list.tools))
	} else if !was {
		next = old.marked(true)
		s.told.Info("upstream is back")
	}
	s.mu.Lock()
	s.up, s.lastErr, s.offer = true, nil, next
	s.mu.Unlock()
	if next != old {
		s.opts.Changed()
	}
	return nil
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
