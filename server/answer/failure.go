package answer

import (
	"context"
	"sync/atomic"

	"github.com/sangate/sangate/server/tracing"
)

// A Failure is an answer that says no, as the operator is told of it.
type Failure struct{ Code, Detail string }

// Failures is the place for that of one request.
type Failures = atomic.Pointer[Failure]

// FailuresKey is what a context has the [*Failures] of its request by.
type FailuresKey struct{}

// Note has the request that ctx is of know why it is told no. What was noted first
// stays: it stands nearest to the cause, and what follows is made of it for the peer.
func Note(ctx context.Context, code, detail string) {
	tracing.Failed(ctx, code)
	if at, ok := ctx.Value(FailuresKey{}).(*Failures); ok {
		at.CompareAndSwap(nil, &Failure{code, detail})
	}
}
