package server

import (
	"context"
	"net/http"
	"time"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
)

// keyWait bounds the wait for an issuer's keys when a token names one that is
// not there.
const keyWait = 5 * time.Second

// admitted runs next if certificate, token and tenant agree. A request that is
// refused is recorded here, one that is admitted when its tool is known, by
// admit.
func (s *Server) admitted(w http.ResponseWriter, q *request, next http.HandlerFunc) {
	q.asked = auth.RequestOf(q.asked.Peer, q.via, q.http.Header)
	s.decided(w, q, next)
}

// administered runs next if it is an admin who asks; admins stand in the place of
// a tenant.
func (s *Server) administered(w http.ResponseWriter, q *request, next http.Handler) {
	q.asked = auth.RequestOf(q.asked.Peer, q.via, q.http.Header)
	q.asked.Admin = true
	s.decided(w, q, func(w http.ResponseWriter, r *http.Request) {
		s.admit(r, "", nil)
		next.ServeHTTP(w, r)
	})
}

// decided runs next if the request may pass. While it lasts it is decided again
// and again.
func (s *Server) decided(w http.ResponseWriter, q *request, next http.HandlerFunc) {
	s.decide(q)
	d := &q.decision
	if d.OK() {
		var wait time.Duration
		var ok bool
		if q.grant, wait, ok = s.limiter.Acquire(d.Principal.TenantID, d.Principal.Key, d.Tenant.Limits); !ok {
			*d = d.Refused(auth.RateLimited, wait)
		}
	}
	defer q.grant.Release()
	defer q.memory.release()
	defer q.turn.Leave()
	if !d.OK() {
		s.record(q, d, q.took)
		answer.Fail(w, q.http, answer.Refusal(d, q.tokenSent()))
		return
	}
	if d.Principal.KeyID != "" {
		s.used.note(d.Principal.KeyID, time.Now())
	}
	defer q.Release()
	q.tenant = d.Principal.TenantID
	q.out.tenant, q.out.identity, q.out.admitted = d.Principal.TenantID, d.Principal.Key, true
	s.live.add(q)
	defer s.live.remove(q)
	s.metrics.Streams.Inc()
	defer s.metrics.Streams.Dec()
	if s.tracer != nil {
		next = s.traced(q, next)
	}
	next(w, q.http)
	q.out.finish()
}

// listens makes an admitted request a stream of what changes. If there are too many, it
// returns the refusal, which is recorded.
func (s *Server) listens(r *http.Request) *auth.Decision {
	q := requestOf(r.Context())
	d := &q.decision
	if !q.grant.Listen(d.Tenant.Limits) {
		return s.refuse(r, auth.RateLimited)
	}
	if q.http.ProtoMajor == 2 {
		_ = q.http.Body.Close() // nobody reads what a client may send yet: it would be kept
	}
	q.doing.Store(listening)
	s.record(q, d, q.took)
	return d
}

// Take implements [answer.Intake]. A request for which its tenant or identity has too
// much memory in use is refused as one over its rate is.
func (q *request) Take(size int64) error {
	s := q.out.server
	if q.memory.take(s.intake, &q.out, size, 0) {
		return nil
	}
	return q.tooMuch()
}

// TakeAnswer implements [intake.Taker].
func (q *request) TakeAnswer(more int64) error {
	if q.memory.take(q.out.server.intake, &q.out, 0, more) {
		return nil
	}
	return q.tooMuch()
}

// EnterTurn implements [turns.Taker].
func (q *request) EnterTurn(ctx context.Context) error {
	return q.turn.Enter(ctx, q.out.server.turns, q.out.tenant, q.out.identity)
}

// LeaveTurn implements [turns.Taker].
func (q *request) LeaveTurn() { q.turn.Leave() }

func (q *request) tooMuch() error {
	s := q.out.server
	was := s.live.decision(q)
	d := was.Refused(auth.RateLimited, time.Second)
	d.Detail = "requests of its tenant or identity take too much memory: limits.requestBytes"
	s.cutOff(q, d)
	return q.refusal(q.refused.Load())
}

// cutOff records that a request in progress is refused, and ends it; only the first call
// counts. The dialects answer with the error, if their answer has not begun.
func (s *Server) cutOff(q *request, d auth.Decision) {
	if !q.refused.CompareAndSwap(nil, &d) {
		return
	}
	s.record(q, &d, 0)
	q.End(q.refusal(&d))
}

// decide asks the gate. An identity that has sent wrong tokens too often is not
// heard for a while; a key that an issuer may have rolled in is waited for, once.
// The time is that of the decision itself.
func (s *Server) decide(q *request) {
	q.asked.Lockout = s.limiter
	start := time.Now()
	q.decided = s.opts.Now()
	s.gate.DecideOn(&q.asked, &q.decision)
	if q.decision.Missing != nil {
		// Not on the request itself: its context would stay as it is, without a span.
		ctx, cancel := context.WithTimeout(q.Parent(), keyWait)
		q.decision.Missing.Await(ctx)
		cancel()
		start = time.Now()
		q.decision = auth.Decision{}
		s.gate.DecideOn(&q.asked, &q.decision)
	}
	q.took = time.Since(start)
	q.asked.Lockout = nil // a lockout does not end requests in progress
	if d := &q.decision; d.Failure() {
		s.limiter.Failed(d.Principal.TenantID, d.Principal.Key)
	}
}
