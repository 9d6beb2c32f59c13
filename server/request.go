package server

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/lifetime"
	"github.com/sangate/sangate/server/limit"
	"github.com/sangate/sangate/server/mcp"
	"github.com/sangate/sangate/server/turns"
)

// A request is one that is being answered: all that is known of it in one
// value, which is its context, too. It ends with net/http's own context, or when
// the sweep finds that it may go on no longer.
type request struct {
	lifetime.Context
	id    string
	began time.Time
	conn  *connection
	via   *pki.Peer // the proxy that carried the certificate, if one did

	asked    auth.Request  // what was decided about; its peer stands from the start
	decision auth.Decision // where it was admitted; with the tool, where there is one
	took     time.Duration // of the decision
	http     *http.Request // as the handlers have it

	failure  answer.Failures          // why it is told no, where it is
	recorded atomic.Bool              // a decision on it was
	audited  atomic.Bool              // the audit log has what came of it
	expected atomic.Pointer[mcp.Kind] // of the use that its message may lead to, until there is one
	doing    atomic.Pointer[string]   // the tool that it calls, or listening
	using    atomic.Pointer[string]   // the resource, template or prompt that it uses
	allowed  auth.Allowance           // under which the sweep, which alone uses it, last let the use go on

	call lifetime.Context // of the tool it calls
	span trace.Span       // nil: it is not traced

	before, after *request // in live

	grant   limit.Grant                   // what it holds of the limits of its tenant and identity
	tenant  string                        // that the request was admitted for
	decided time.Time                     // time of decision, by the server's clock
	refused atomic.Pointer[auth.Decision] // why the request was cut off; nil: it was not
	out     answerWriter                  // once it is admitted
	turn    turns.Turn                    // of work on large bodies and answers
	memory  memory                        // of its body, of backends' answers, and of what is decoded from them

	header [1]string // the value of X-Request-Id
}

// listening is in the place of a tool's name, which is never empty, where a request is a
// stream of what changes.
var listening = new(string)

type requestKey struct{}

// newRequest makes the context of a request that ends with another, too.
func newRequest(parent context.Context) *request {
	q := new(request)
	q.Begin(parent, time.Time{})
	return q
}

// begin makes the request of an HTTP request, whose context it is from then on, and
// gives its answer the id.
func begin(w http.ResponseWriter, r *http.Request, now time.Time) *request {
	q, ok := r.Context().(*request)
	if !ok {
		q = newRequest(r.Context())
		r = r.WithContext(q)
	}
	q.http, q.id, q.began, q.conn = r, newID(), now, connectionOf(r)
	q.asked.Peer = q.conn.peer
	q.header[0] = q.id
	w.Header()["X-Request-Id"] = q.header[:]
	return q
}

// newID returns the id of a request: 26 characters that are no other's. They are
// no secret, so they come from the generator that asks nobody.
func newID() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var id [26]byte
	for i := 0; i < len(id); {
		for bits, n := rand.Uint64(), 0; n < 12 && i < len(id); n++ {
			id[i] = alphabet[bits%32]
			bits /= 32
			i++
		}
	}
	return string(id[:])
}

// requestOf returns the request that a context is of.
func requestOf(ctx context.Context) *request { return ctx.Value(requestKey{}).(*request) }

// Value is part of context.Context.
func (q *request) Value(key any) any {
	switch key.(type) {
	case requestKey:
		return q
	case auth.DecisionKey:
		return &q.decision
	case answer.RequestIDKey:
		return q.id
	case answer.FailuresKey:
		return &q.failure
	case answer.IntakeKey, intake.TakerKey, turns.Key:
		return q
	}
	return q.Context.Value(key)
}

// tokenSent reports whether there was anything to say about a token.
func (q *request) tokenSent() bool { return len(q.http.Header["Authorization"]) > 0 }
