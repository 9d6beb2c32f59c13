// Package lifetime is a context that costs nothing until somebody waits for its end.
package lifetime

import (
	"context"
	"sync"
	"time"
)

// A Context can be ended for a cause and may have a deadline. Unlike the standard
// library's it makes no timer and takes no place among its parent's children until
// somebody waits for its end, which few tools do. It is a value of whatever it is the
// lifetime of, and is nothing before Begin.
type Context struct {
	parent   context.Context
	deadline time.Time // zero: none of its own

	mu       sync.Mutex
	waited   context.Context // of the standard library, from when somebody waits
	cancel   func(cause error)
	released bool
}

// Begin gives it its parent, and a deadline of its own unless that is zero. It comes
// before all else.
func (c *Context) Begin(parent context.Context, deadline time.Time) {
	c.parent, c.deadline = parent, deadline
}

// Deadline is part of context.Context.
func (c *Context) Deadline() (time.Time, bool) {
	at, ok := c.parent.Deadline()
	if c.deadline.IsZero() || (ok && at.Before(c.deadline)) {
		return at, ok
	}
	return c.deadline, true
}

// Done is part of context.Context.
func (c *Context) Done() <-chan struct{} { return c.wait().Done() }

// Err is part of context.Context.
func (c *Context) Err() error {
	if ctx := c.begun(); ctx != nil {
		return ctx.Err()
	}
	if err := c.parent.Err(); err != nil {
		return err
	}
	if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
		return c.wait().Err()
	}
	return nil
}

// Value is part of context.Context. Through it the standard library finds whom it
// may wait with, and the cause.
func (c *Context) Value(key any) any {
	if ctx := c.begun(); ctx != nil {
		return ctx.Value(key)
	}
	return c.parent.Value(key)
}

// Parent is the context that it ends with.
func (c *Context) Parent() context.Context { return c.parent }

// Within puts ctx, which came of the parent, in its place: for values. Where somebody
// waits already it is left out.
func (c *Context) Within(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited == nil {
		c.parent = ctx
	}
}

// End ends it for a cause; only the first counts. After it, it has let go of its
// parent.
func (c *Context) End(cause error) {
	c.wait()
	c.cancel(cause)
}

// Release is for whoever has begun it and is done: it has ended, for who waits and for
// who asks later.
func (c *Context) Release() {
	c.mu.Lock()
	c.released = true
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel(nil)
	}
}

// begun is nil as long as it goes on and nobody has waited.
func (c *Context) begun() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		c.wake()
	}
	return c.waited
}

func (c *Context) wait() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake()
	return c.waited
}

// wake has the standard library take over. Callers hold mu.
func (c *Context) wake() {
	if c.waited != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(c.parent)
	c.waited, c.cancel = ctx, cancel
	if !c.deadline.IsZero() {
		var stop context.CancelFunc
		c.waited, stop = context.WithDeadline(ctx, c.deadline)
		c.cancel = func(cause error) { cancel(cause); stop() }
	}
	if c.released {
		c.cancel(nil)
	}
}
