package intake

import (
	"context"

	"github.com/sangate/sangate/server/turns"
)

// Free is how many bytes of a backend's answer are not counted.
const Free = 64 << 10

// MaxWeight bounds what one answer of a backend may take when it is decoded, whatever it is for.
const MaxWeight = 192 << 20

// A Taker counts what answers of backends take for one request.
type Taker interface {
	// TakeAnswer takes so many bytes more until the request ends; fewer if it is negative. It returns an error, and ends
	// the request, if its tenant or identity has too much. It may be called from any goroutine, and at any time.
	TakeAnswer(more int64) error
}

// TakerKey is the key of a request's [Taker] in its context.
type TakerKey struct{}

// An Answer counts what one answer of a backend takes for the call, and for the request, of a context.
type Answer struct {
	ctx  context.Context
	have int64
}

// AnswerTo returns an Answer that is for the call and the request of ctx, if it is of one.
func AnswerTo(ctx context.Context) *Answer { return &Answer{ctx: ctx, have: 2 * Free} }

// Turn waits for the request's turn for work on so many bytes; see package turns. Who reads for many calls must not
// wait for it: one call would hold up the others.
func (a *Answer) Turn(size int) error { return turns.Enter(a.ctx, size) }

// Grow counts so many bytes in all. It is quick unless that is much more than it was. It waits while the backend's
// answers to other calls take too much, until the context ends.
func (a *Answer) Grow(size int64) error {
	if size <= a.have {
		return nil
	}
	size += size / 4
	more := size - a.have
	a.have = size
	if err := a.Pass(more); err != nil {
		return err
	}
	if call, ok := a.ctx.Value(callKey{}).(*Call); ok {
		return call.takeFor(a.ctx, more)
	}
	return takeFor(a.ctx, more)
}

// Pass counts so many bytes more for the call only, until it ends, not for its request: it waits as [Answer.Grow] does.
func (a *Answer) Pass(more int64) error {
	if call, ok := a.ctx.Value(callKey{}).(*Call); ok {
		return call.hold(a.ctx, more)
	}
	return nil
}

// takeFor counts bytes for the request of ctx, if it is of one.
func takeFor(ctx context.Context, more int64) error {
	if taker, ok := ctx.Value(TakerKey{}).(Taker); ok {
		return taker.TakeAnswer(more)
	}
	return nil
}
