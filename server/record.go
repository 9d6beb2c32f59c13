package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tool"
	"github.com/sangate/sangate/server/tracing"
)

// admit applies the policy on a call of one tool, or none where name is "", and
// records the final decision on the request. args are looked at only where the
// policy does.
func (s *Server) admit(r *http.Request, name string, args []byte) *auth.Decision {
	q := requestOf(r.Context())
	if refused, _ := s.revalidate(q); refused != nil {
		return refused // recorded already
	}
	if name != "" {
		ctx, cancel := s.judging(q)
		q.decision.Call(ctx, name, args)
		cancel()
	}
	s.record(q, &q.decision, q.took)
	if name != "" && q.decision.OK() && q.decision.Tool == "" {
		s.metrics.UnknownTool(admin.TenantLabel(&q.decision))
	}
	return &q.decision
}

// refuse records that an admitted request is refused by what only its dialect
// can see.
func (s *Server) refuse(r *http.Request, reason auth.Reason) *auth.Decision {
	q := requestOf(r.Context())
	d := q.decision.Refused(reason, 0)
	if d.Failure() {
		s.limiter.Failed(d.Principal.TenantID, d.Principal.Key)
	}
	s.record(q, &d, q.took)
	return &d
}

// recorded is in the place of a failure that the decision on the request tells of.
var recorded = new(answer.Failure)

// record counts a decision and logs it: refusals for everybody, the rest at
// level debug. That a request is admitted is recorded once, and not after it was
// refused; one that is refused while it is in progress has both.
func (s *Server) record(q *request, d *auth.Decision, took time.Duration) {
	if q.recorded.Swap(true) && d.OK() {
		return
	}
	s.metrics.Decision(d, took, q.id)
	detail := s.detail(q, d)
	if !d.OK() {
		tracing.Failed(q, string(d.Reason))
		q.failure.Store(recorded)
		s.auditRefusal(q, d, took)
		s.showRefused(q, d, detail)
	}
	level, message := slog.LevelInfo, "request refused"
	if d.OK() {
		level, message = slog.LevelDebug, "request admitted"
	}
	log := s.log
	if !d.OK() && !d.Failure() {
		log = s.repeated // nothing else bounds how many there are: failures lead to a lockout
	}
	if !log.Enabled(q, level) {
		return
	}
	r := q.http
	log.LogAttrs(q, level, message,
		slog.String("stage", string(d.Stage)), slog.String("reason", string(d.Reason)), slog.String("detail", detail),
		slog.String("tenant", d.Principal.TenantID), slog.String("rule", d.Rule),
		slog.String("identity", d.Principal.Name()), slog.String("serial", d.Principal.Identity.Serial),
		slog.String("via", viaName(d)), slog.String("key", d.Principal.KeyID), slog.Any("token", d.Principal.Token), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.String("remote", r.RemoteAddr), slog.String("requestId", q.id))
}

// viaName is the proxy that carried the request, or "".
func viaName(d *auth.Decision) string {
	if d.Via == nil {
		return ""
	}
	return d.Via.Identity.Name()
}

// detail is what the log tells beside the reason. A certificate that was revoked
// is counted by who says so.
func (s *Server) detail(q *request, d *auth.Decision) string {
	switch peer := q.asked.Peer; {
	case d.Stage != auth.Certificate || d.Detail != "":
		return d.Detail
	case d.Reason == pki.CertRevoked || d.Reason == pki.RevocationUnknown:
		found := peer.Find(d.Snapshot.PKI, s.opts.Now())
		s.metrics.Revoked(d.Reason, found.Source)
		return found.Detail
	case d.Reason == pki.BadCertificate:
		return peer.Find(d.Snapshot.PKI, s.opts.Now()).Detail
	case peer.IdentityErr != nil:
		return peer.IdentityErr.Error()
	}
	return ""
}

// run calls a tool: bounded in time, ended when the request may go on no
// longer, counted and, where it failed, logged. Its error is the tool's, or an
// *answer.Error.
func (s *Server) run(ctx context.Context, t *tool.Tool, call *tool.Call) (*tool.Result, error) {
	q := requestOf(ctx)
	if err := s.mayStart(q, t, call.Arguments); err != nil {
		return nil, err
	}
	d := auth.DecisionFrom(ctx)
	q.doing.Store(&t.Name)
	start := time.Now()
	if ctx == context.Context(q) {
		q.call.Begin(q, start.Add(s.limits.ToolTimeout))
		defer q.call.Release()
		ctx = &q.call
	} else {
		var release func()
		ctx, release = s.bound(ctx)
		defer release()
	}
	res, err := t.Call(ctx, call)
	took := time.Since(start)
	outcome := outcomeOf(res, err)
	s.metrics.ToolCall(t.Upstream, t.Name, admin.TenantLabel(d), outcome, took, q.id)
	s.auditCall(q, d, t.Name, outcome, took)
	if q.span != nil {
		tracing.Called(q.span, t.Name, outcome)
	}
	if refused, ok := errors.AsType[*answer.Error](context.Cause(q)); ok {
		return nil, refused // no longer admitted, whatever the tool made of it
	}
	if outcome != "ok" {
		answer.Note(q, outcome, whyFailed(t.Name, outcome, err))
	}
	if err == nil {
		return res, nil
	}
	switch _, upstream := errors.AsType[*tool.UpstreamError](err); {
	case upstream:
		s.repeated.Warn("what stands behind a tool failed", "tool", t.Name, "tenant", d.Principal.TenantID,
			"requestId", q.id, "err", err)
	case outcome == "internal":
		s.repeated.Error("tool failed", "tool", t.Name, "tenant", d.Principal.TenantID,
			"requestId", q.id, "err", err)
	}
	return res, err
}

// whyFailed is what the operator is told of a call that failed. What the tool itself
// said is its caller's.
func whyFailed(name, outcome string, err error) string {
	if outcome == "tool_error" {
		return name + " said no"
	}
	line, _, _ := strings.Cut(err.Error(), "\n") // the log has the stack of a panic
	return line
}

// bound has a context that is not the request's own end when the request may go on
// no longer, or has taken too long. The MCP SDK gives handlers of older revisions
// one that outlives the request.
func (s *Server) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.limits.ToolTimeout)
	stop := context.AfterFunc(requestOf(ctx), cancel)
	return ctx, func() { stop(); cancel() }
}

// outcomeOf is the label of a call's result, from a closed set.
func outcomeOf(res *tool.Result, err error) string {
	switch {
	case err == nil && res.IsError:
		return "tool_error"
	case err == nil:
		return "ok"
	}
	if upstream, ok := errors.AsType[*tool.UpstreamError](err); ok {
		return upstream.Kind
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	if _, ok := errors.AsType[*tool.InvalidArguments](err); ok {
		return "invalid_arguments"
	}
	_, failed := errors.AsType[*tool.Failure](err)
	if _, needs := errors.AsType[*tool.NeedsCapability](err); failed || needs {
		return "tool_error"
	}
	return "internal"
}
