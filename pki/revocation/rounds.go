package revocation

import (
	"context"
	"time"
)

// A round is one look at all lists that somebody waits for.
type round struct {
	began time.Time
	done  chan struct{} // closed at its end
}

// lookAgain is how often LookAgain looks, at most.
const lookAgain = 10 * time.Second

// LookAgain looks at all lists and returns when that is done or ctx ends: for a
// certificate whose issuer has no list here, which may be new. However many ask,
// there is one look in ten seconds. It needs Run to be running.
func (s *Source) LookAgain(ctx context.Context) {
	s.asking.Lock()
	r := s.round
	if r == nil || s.opts.Now().Sub(r.began) > lookAgain {
		next := &round{began: s.opts.Now(), done: make(chan struct{})}
		select {
		case s.rounds <- next:
			s.round, r = next, next
		default: // one is still waiting for its turn
		}
	}
	s.asking.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
	}
}

// IssuerFound tells the source that Issuers returns one more. Lists that nobody known had
// signed are looked at again, once in ten seconds, and kept ones tried. It does not wait,
// and needs Run to be running.
func (s *Source) IssuerFound() {
	select {
	case s.found <- struct{}{}:
	default: // told already
	}
}

func (s *Source) lookForFound(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.found:
		}
		s.restore(ctx)
		for _, it := range s.items {
			if it.unsigned.Load() {
				it.lookAnew()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookAgain):
		}
	}
}
