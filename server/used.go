package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/mcp"
	"github.com/sangate/sangate/server/tool"
)

// expect decides again about a request that may lead to a use of a resource or prompt,
// or, if kind is "", to a stream. The final decision is recorded by use or listens, or
// at the end if there is neither.
func (s *Server) expect(r *http.Request, kind mcp.Kind) *auth.Decision {
	q := requestOf(r.Context())
	if kind != "" {
		q.expected.Store(&kind)
	}
	if refused, _ := s.revalidate(q); refused != nil {
		return refused // recorded already
	}
	return &q.decision
}

// use reads a resource, gets a prompt or completes an argument: decided right before,
// bounded in time, ended if the request may not go on, counted and, if it failed, logged.
// Its error is that of do, [mcp.ErrDenied], or an *answer.Error.
func (s *Server) use(ctx context.Context, u mcp.Use, do func(context.Context) (*tool.Result, error)) (*tool.Result, error) {
	q := requestOf(ctx)
	q.expected.Store(nil)
	d, err := s.mayUse(ctx, u)
	if err != nil {
		return nil, err
	}
	q.using.Store(&u.Name) // from now on the sweep looks at it, too
	ctx, cancel := s.bound(ctx)
	defer cancel()
	start := time.Now()
	q.turn.Leave() // it may wait for others
	res, err := do(ctx)
	took := time.Since(start)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	outcome := outcomeOf(res, err)
	s.metrics.Used(u.Upstream, string(u.Kind), u.Name, admin.TenantLabel(d), outcome, took, q.id)
	s.auditUse(q, d, u, outcome, took)
	if refused, ok := errors.AsType[*answer.Error](context.Cause(q)); ok {
		return nil, refused // no longer admitted, whatever came of it
	}
	if err == nil {
		return res, nil
	}
	answer.Note(ctx, outcome, whyFailed(u.Name, outcome, err))
	if _, upstream := errors.AsType[*tool.UpstreamError](err); upstream || outcome == "internal" {
		s.repeated.Warn("what stands behind a resource or prompt failed", "kind", string(u.Kind), "name", u.Name,
			"tenant", d.Principal.TenantID, "requestId", q.id, "err", err)
	}
	return nil, err
}

// mayUse decides about the request right before a resource is read, a prompt fetched or
// an argument completed, and applies the tenant's condition to it. It records the
// decision.
func (s *Server) mayUse(ctx context.Context, u mcp.Use) (*auth.Decision, error) {
	q := requestOf(ctx)
	refused, changed := s.revalidate(q)
	if refused != nil {
		return nil, q.refusal(refused)
	}
	d := *auth.DecisionFrom(ctx)
	if changed {
		d = q.decision
	}
	judging, cancel := s.judging(q)
	d.Read(judging, u.Name, u.Args)
	cancel()
	if d.OK() && changed && !slices.Contains(d.Tools.Others(), u.Name) {
		d = d.Refused(auth.ToolDenied, 0)
	}
	s.record(q, &d, q.took)
	if !d.OK() {
		return nil, mcp.ErrDenied
	}
	return &d, nil
}

// watches reports whether a stream may be told now that a resource is another. If the
// policy no longer lets it, the stream goes on with what is left.
func (s *Server) watches(r *http.Request, uri string) bool {
	q := requestOf(r.Context())
	d := ofSameTenant(q, s.gate.Watch(&q.asked, uri))
	return d.OK()
}
