package server

import (
	"context"
	"net/http"
	"time"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/limit"
)

// keyWait bounds the wait for an issuer's keys when a token names one that is
// not there.
const keyWait = 5 * time.Second

// decided runs next if the request may pass. While it lasts it is decided again
// and again.
func (s *Server) decided(w http.ResponseWriter, r *http.Request, request auth.Request, next http.HandlerFunc) {
	d, took := s.decide(r.Context(), request)
	var grant limit.Grant
	if d.OK() {
		var wait time.Duration
		var ok bool
		if grant, wait, ok = s.limiter.Acquire(d.Principal.TenantID, d.Principal.Identity.Key(), d.Tenant.Limits); !ok {
			d = d.Refused(auth.RateLimited, wait)
		}
	}
	defer grant.Release()
	if !d.OK() {
		s.record(r, &d, took)
		answer.Fail(w, r, answer.Refusal(&d, len(request.Authorization) > 0))
		return
	}
	if d.Principal.KeyID != "" {
		s.used.note(d.Principal.KeyID, time.Now())
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	entry := s.live.add(request, func(d auth.Decision) {
		s.record(r, &d, 0)
		e := answer.Refusal(&d, len(request.Authorization) > 0)
		cancel(&e) // what the dialects answer with, if they have not begun
	})
	defer s.live.remove(entry)
	s.metrics.Streams.Inc()
	defer s.metrics.Streams.Dec()
	ctx = withRequest(auth.WithDecision(ctx, &d), ctx, took, r)
	next(w, r.WithContext(ctx))
}

// decide asks the gate. An identity that has sent wrong tokens too often is not
// heard for a while; a key that an issuer may have rolled in is waited for, once.
// It returns the time that the decision itself took.
func (s *Server) decide(ctx context.Context, request auth.Request) (auth.Decision, time.Duration) {
	identity := request.Peer.Identity.Key()
	locked := s.limiter.Locked(identity)
	request.Locked = locked > 0
	start := time.Now()
	d := s.gate.Decide(request)
	if d.Missing != nil {
		ctx, cancel := context.WithTimeout(ctx, keyWait)
		d.Missing.Await(ctx)
		cancel()
		start = time.Now()
		d = s.gate.Decide(request)
	}
	took := time.Since(start)
	switch {
	case d.Reason == auth.LockedOut:
		d.RetryAfter = locked
	case d.Failure():
		s.limiter.Failed(identity)
	}
	return d, took
}
