package server

import (
	"context"
	"sync"
	"time"

	"github.com/sangate/sangate/server/auth"
)

// sweepEvery is how long a request may go on after it would be refused, at most.
const sweepEvery = 250 * time.Millisecond

// live holds the requests in progress and decides each of them again: soon
// after every change of the snapshot, and all the time because certificates
// and keys end by the clock.
type live struct {
	mu       sync.Mutex
	requests map[*liveRequest]struct{}
	none     *sync.Cond // of mu: no request is left
	changed  chan struct{}
}

type liveRequest struct {
	request auth.Request
	cut     func(auth.Decision) // ends the request; called once
	ended   bool                // the sweep's own
}

func newLive() *live {
	l := &live{requests: make(map[*liveRequest]struct{}), changed: make(chan struct{}, 1)}
	l.none = sync.NewCond(&l.mu)
	return l
}

func (l *live) add(r auth.Request, cut func(auth.Decision)) *liveRequest {
	entry := &liveRequest{request: r, cut: cut}
	l.mu.Lock()
	l.requests[entry] = struct{}{}
	l.mu.Unlock()
	return entry
}

func (l *live) remove(entry *liveRequest) {
	l.mu.Lock()
	delete(l.requests, entry)
	if len(l.requests) == 0 {
		l.none.Broadcast()
	}
	l.mu.Unlock()
}

// wait returns when no request is in progress.
func (l *live) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.requests) > 0 {
		l.none.Wait()
	}
}

// wake makes the next sweep come at once.
func (l *live) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// sweep runs until ctx ends.
func (l *live) sweep(ctx context.Context, gate *auth.Gate) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var batch []*liveRequest
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.changed:
		}
		batch = l.appendTo(batch[:0])
		for _, entry := range batch {
			if d := gate.Decide(entry.request); !d.OK() && !entry.ended {
				entry.ended = true
				entry.cut(d)
			}
		}
		clear(batch)
	}
}

func (l *live) appendTo(batch []*liveRequest) []*liveRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	for entry := range l.requests {
		batch = append(batch, entry)
	}
	return batch
}
