package server

import (
	"context"
	"sync"
	"time"
)

// A lifetime is a context that can be ended for a cause and may have a deadline.
// Unlike the standard library's it costs nothing, no timer and no place among its
// parent's children, until somebody waits for its end, which few tools do.
type lifetime struct {
	parent   context.Context
	deadline time.Time // zero: none of its own

	mu     sync.Mutex
	waited context.Context // of the standard library, from when somebody waits
	cancel func(cause error)
}

// Deadline is part of context.Context.
func (l *lifetime) Deadline() (time.Time, bool) {
	at, ok := l.parent.Deadline()
	if l.deadline.IsZero() || (ok && at.Before(l.deadline)) {
		return at, ok
	}
	return l.deadline, true
}

// Done is part of context.Context.
func (l *lifetime) Done() <-chan struct{} { return l.wait().Done() }

// Err is part of context.Context.
func (l *lifetime) Err() error {
	if ctx := l.begun(); ctx != nil {
		return ctx.Err()
	}
	if err := l.parent.Err(); err != nil {
		return err
	}
	if !l.deadline.IsZero() && !time.Now().Before(l.deadline) {
		return l.wait().Err()
	}
	return nil
}

// Value is part of context.Context. Through it the standard library finds whom it
// may wait with, and the cause.
func (l *lifetime) Value(key any) any {
	if ctx := l.begun(); ctx != nil {
		return ctx.Value(key)
	}
	return l.parent.Value(key)
}

// within puts ctx, which came of the parent, in its place: for values. Where somebody
// waits already it is left out.
func (l *lifetime) within(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waited == nil {
		l.parent = ctx
	}
}

// end ends it for a cause; only the first counts. After it, the lifetime has let
// go of its parent.
func (l *lifetime) end(cause error) {
	l.wait()
	l.cancel(cause)
}

// release is for whoever has made it and is done: who waits is let go, where
// somebody does.
func (l *lifetime) release() {
	if l.begun() != nil {
		l.cancel(nil)
	}
}

func (l *lifetime) begun() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waited
}

func (l *lifetime) wait() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waited == nil {
		ctx, cancel := context.WithCancelCause(l.parent)
		l.waited, l.cancel = ctx, cancel
		if !l.deadline.IsZero() {
			var stop context.CancelFunc
			l.waited, stop = context.WithDeadline(ctx, l.deadline)
			l.cancel = func(cause error) { cancel(cause); stop() }
		}
	}
	return l.waited
}
