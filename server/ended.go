package server

import (
	"strings"

	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/audit"
	"github.com/sangate/sangate/server/auth"
)

// end records the decision on a request that nobody has recorded: its message was broken,
// or there is no such path or method. Where its token was not needed for the answer it is
// checked now, if one was sent: what is wrong with a message hides no token from metric
// and audit log.
func (s *Server) end(q *request) {
	// From here on the sweep does not cut the request off.
	if q.refused.CompareAndSwap(nil, &q.decision) && !q.recorded.Load() {
		if q.decided.IsZero() && q.failure.Load() != nil && q.tokenSent() {
			q.asked = auth.RequestOf(q.asked.Peer, q.via, q.http.Header)
			q.asked.Admin = strings.HasPrefix(q.http.URL.Path, "/api/")
			s.decide(q)
		}
		if d := s.live.decision(q); !q.decided.IsZero() {
			s.record(q, &d, q.took)
		}
	}
	if f := q.failure.Load(); f != nil && f != recorded {
		d := s.live.decision(q)
		if kind := q.expected.Load(); kind != nil {
			s.metrics.Unused(string(*kind), admin.TenantLabel(&d))
		}
		s.showFailure(q, &d, f)
		s.auditFailure(q, &d, f)
	}
}

// callers are the codes of answers that say that what was sent is wrong.
var callers = map[string]bool{answer.BadRequest("").Code: true, answer.NotFound.Code: true, answer.MethodNotAllowed.Code: true,
	answer.TooLarge.Code: true, answer.UnsupportedType.Code: true, answer.Forbidden.Code: true,
	"invalid_arguments": true, "conflict": true, "precondition_failed": true}

// auditFailure writes down a request that was let in and could not be answered because of
// what it sent, unless the call it makes is in the log.
func (s *Server) auditFailure(q *request, d *auth.Decision, f *answer.Failure) {
	if !callers[f.Code] || d.Snapshot == nil || q.audited.Load() || !s.journal.on(audit.BadRequest) {
		return
	}
	out := who(audit.BadRequest, q.http, d)
	out.Stage, out.Reason, out.Outcome, out.Duration = string(d.Stage), string(d.Reason), f.Code, q.took
	s.journal.writeOften(out)
}
