package turns

import (
	"context"
	"sync/atomic"
	"time"
)

// longest is how long a turn lasts at most. Work that takes longer goes on beside the
// next: a turn that is held while its request waits for something holds up others for no
// longer than this.
const longest = 50 * time.Millisecond

// A Turn is that of one request, which has it or not. The zero Turn is one it does not
// have. Safe for concurrent use.
type Turn struct{ had atomic.Pointer[had] }

// had is a turn that a request has.
type had struct {
	of    *Turns
	given atomic.Bool
	over  *time.Timer
}

func (h *had) give() {
	if h.given.CompareAndSwap(false, true) {
		h.of.Give()
	}
}

// Enter waits for the turn, unless the request has it or has used it up. If ctx ends before,
// it returns its cause.
func (t *Turn) Enter(ctx context.Context, of *Turns, tenant, identity string) error {
	if t.had.Load() != nil {
		return nil
	}
	if err := of.Take(ctx, tenant, identity); err != nil {
		return err
	}
	h := &had{of: of}
	h.over = time.AfterFunc(longest, h.give)
	if !t.had.CompareAndSwap(nil, h) { // another goroutine of the request was quicker
		h.over.Stop()
		h.give()
	}
	return nil
}

// Leave ends the turn, if the request has it.
func (t *Turn) Leave() {
	if t.had.Load() == nil {
		return
	}
	if h := t.had.Swap(nil); h != nil {
		h.over.Stop()
		h.give()
	}
}

// A Taker is a request that can have a turn.
type Taker interface {
	EnterTurn(ctx context.Context) error
	LeaveTurn()
}

// Key is the key of a request's [Taker] in its context.
type Key struct{}

// Enter waits for the turn of the request of ctx, if it is of one, before work on so many
// bytes. The request has it until it waits for somebody else, as it says by [Leave], its
// answer begins, or it ends. If ctx ends before, Enter returns its cause.
func Enter(ctx context.Context, size int) error {
	if size <= Large {
		return nil
	}
	return EnterAnyway(ctx)
}

// EnterAnyway is [Enter] before work that costs much whatever its size.
func EnterAnyway(ctx context.Context) error {
	if taker, ok := ctx.Value(Key{}).(Taker); ok {
		return taker.EnterTurn(ctx)
	}
	return nil
}

// Leave ends the turn of the request of ctx, if it has one.
func Leave(ctx context.Context) {
	if taker, ok := ctx.Value(Key{}).(Taker); ok {
		taker.LeaveTurn()
	}
}
