package server

import (
	"context"
	"net/http"
	"time"

	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tool"
)

// decisionAge is the age up to which a decision under an unchanged snapshot is used
// without deciding again.
const decisionAge = 10 * time.Millisecond

// revalidate decides again about an admitted request, on the snapshot in force: its body
// may arrive long after its head. It returns the refusal if the request may not go on,
// which has then been recorded. Otherwise it updates q.decision and reports whether the
// snapshot has changed.
func (s *Server) revalidate(q *request) (refused *auth.Decision, changed bool) {
	if d := q.refused.Load(); d != nil {
		return d, false
	}
	now := s.opts.Now()
	age := now.Sub(q.decided)
	changed = q.decision.Snapshot != s.gate.Snapshot()
	if !changed && age >= 0 && age < decisionAge {
		return nil, false
	}
	fresh := s.again(q)
	if !fresh.OK() {
		s.cutOff(q, fresh)
		return q.refused.Load(), false
	}
	fresh.Tool = q.decision.Tool
	s.live.update(q, fresh, now)
	return nil, changed
}

// again decides about an admitted request, on the snapshot in force.
func (s *Server) again(q *request) auth.Decision { return ofSameTenant(q, s.gate.Decide(q.asked)) }

// still is again for the sweep, which decides often and about all requests in progress:
// the decision has no view of the tools.
func (s *Server) still(q *request) auth.Decision {
	var use auth.Use
	if name := q.doing.Load(); name != nil {
		use.Tool = *name // "" of a stream
	}
	if name := q.using.Load(); name != nil {
		use.Other = *name
	}
	return ofSameTenant(q, s.gate.Again(&q.asked, use, &q.allowed))
}

// ofSameTenant refuses a request whose certificate has moved to another tenant: it was
// admitted for the first.
func ofSameTenant(q *request, d auth.Decision) auth.Decision {
	if d.OK() && d.Principal.TenantID != q.tenant {
		return d.Refused(auth.TenantMismatch, 0)
	}
	return d
}

// mayStart revalidates the request right before a tool is called.
func (s *Server) mayStart(q *request, t *tool.Tool, args []byte) error {
	refused, changed := s.revalidate(q)
	if refused == nil && changed {
		d := q.decision
		ctx, cancel := s.judging(q)
		d.Call(ctx, t.Name, args)
		cancel()
		if d.OK() && d.Tools.Lookup(t.Name) == nil {
			d = d.Refused(auth.ToolDenied, 0)
		}
		if !d.OK() {
			s.cutOff(q, d)
			refused = q.refused.Load()
		}
	}
	if refused == nil {
		return nil
	}
	return q.refusal(refused)
}

// judging returns what the evaluation of a condition ends with: the request, or the time
// that a tool may take.
func (s *Server) judging(q *request) (context.Context, context.CancelFunc) {
	if !q.decision.LooksAtArguments() {
		return q, func() {}
	}
	return s.bound(q)
}

// mayChange revalidates the request of an admin, its body read, before it changes
// anything.
func (s *Server) mayChange(r *http.Request) error {
	q := requestOf(r.Context())
	if refused, _ := s.revalidate(q); refused != nil {
		return q.refusal(refused)
	}
	return nil
}

// refusal is the answer to a request that was cut off. To MCP clients, 404 would mean
// that their session has ended.
func (q *request) refusal(d *auth.Decision) *answer.Error {
	e := answer.Refusal(d, q.tokenSent())
	if d.Reason == auth.ToolDenied && q.http.URL.Path == "/mcp" {
		e = answer.Forbidden
	}
	return &e
}
