package intake

import (
	"context"
	"errors"
	"sync"
)

// SourceShare is how many bytes the answers of one backend take at once, if there is more than one.
const SourceShare = 64 << 20

// A Source bounds what the answers of one backend take at once, so that it does not take the memory of the tenants that
// call it, and with that their calls to others. It refuses nothing: while the answers are too much, those to all calls
// wait but that to the call that was the first to take anything. The zero Source is ready.
type Source struct {
	mu          sync.Mutex
	held        int64
	first, last *Call         // those that hold anything, the oldest first
	changed     chan struct{} // closed when less is held; nil if nobody waits
}

// A Call is one call of a backend.
type Call struct {
	source     *Source
	ctx        context.Context
	held       int64
	taken      int64 // of held, for the request
	ended      bool
	prev, next *Call // in source, if it holds anything
}

type callKey struct{}

var errCallEnded = errors.New("the call has ended")

// Begin returns a context for a call of the backend, in which answers are counted, and the call. End it.
func (s *Source) Begin(ctx context.Context) (context.Context, *Call) {
	c := &Call{source: s, ctx: ctx}
	return context.WithValue(ctx, callKey{}, c), c
}

// InCall reports whether a context is of a call.
func InCall(ctx context.Context) bool {
	_, ok := ctx.Value(callKey{}).(*Call)
	return ok
}

// Held returns how many bytes the answers to all calls hold.
func (s *Source) Held() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// hold counts more bytes for the call. It waits until they fit.
func (c *Call) hold(ctx context.Context, more int64) error {
	for {
		changed, err := c.source.hold(c, more)
		if err != nil {
			return err
		}
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// takeFor counts more bytes for the call's request.
func (c *Call) takeFor(ctx context.Context, more int64) error {
	err := takeFor(ctx, more)
	if err == nil {
		c.source.mu.Lock()
		defer c.source.mu.Unlock()
		c.taken += more
	}
	return err
}

// hold counts more bytes for c. If they do not fit, it returns what is closed when fewer are held.
func (s *Source) hold(c *Call, more int64) (changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.ended {
		return nil, errCallEnded
	}
	if s.held+more > SourceShare && s.first != nil && s.first != c {
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		return s.changed, nil
	}
	if c.held == 0 {
		if c.prev = s.last; c.prev == nil {
			s.first = c
		} else {
			c.prev.next = c
		}
		s.last = c
	}
	c.held += more
	s.held += more
	return nil, nil
}

// End ends the call. What it counted is given back, but for the bytes that its request keeps of the answer.
func (c *Call) End(kept int64) {
	if taken := c.source.end(c); taken > kept {
		_ = takeFor(c.ctx, kept-taken) // less is never too much
	}
}

// end takes a call out and returns what its request took.
func (s *Source) end(c *Call) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := c.taken
	c.ended, c.taken = true, 0
	if c.held == 0 {
		return 0
	}
	if c.prev == nil {
		s.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		s.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	s.held -= c.held
	c.held, c.prev, c.next = 0, nil, nil
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return taken
}
