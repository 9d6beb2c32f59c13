package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/server/auth"
)

// sweepEvery is how long a request may go on after it would be refused, at most.
const sweepEvery = 250 * time.Millisecond

// live holds the requests in progress, in a ring through root, and decides each
// of them again: soon after every change of the snapshot, and all the time
// because certificates and keys end by the clock. Those that are still there then
// are watched for their client to go.
type live struct {
	mu      sync.Mutex
	root    request
	none    *sync.Cond // of mu: no request is left
	changed chan struct{}
	swept   atomic.Int64 // when the last sweep ended, Unix nanoseconds
}

func newLive() *live {
	l := &live{changed: make(chan struct{}, 1)}
	l.root.before, l.root.after = &l.root, &l.root
	l.none = sync.NewCond(&l.mu)
	l.swept.Store(time.Now().UnixNano())
	return l
}

func (l *live) add(q *request) {
	l.mu.Lock()
	q.before, q.after = l.root.before, &l.root
	q.before.after, l.root.before = q, q
	l.mu.Unlock()
}

func (l *live) remove(q *request) {
	l.mu.Lock()
	q.before.after, q.after.before = q.after, q.before
	q.before, q.after = nil, nil
	if l.root.after == &l.root {
		l.none.Broadcast()
	}
	l.mu.Unlock()
}

// update replaces the decision on a request, which others may be reading.
func (l *live) update(q *request, d auth.Decision, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q.decision, q.decided = d, at
}

// decision returns that on a request.
func (l *live) decision(q *request) auth.Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	return q.decision
}

// wait returns when no request is in progress.
func (l *live) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.root.after != &l.root {
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

// sweep cuts off the requests that would be refused now, and aborts the answers of those
// that are still being written some time later, until ctx ends. It cuts answers of which
// the client takes nothing for the time stall.
func (l *live) sweep(ctx context.Context, decide func(*request) auth.Decision, cut func(*request, auth.Decision), stall time.Duration) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var batch []*request
	for {
		l.swept.Store(time.Now().UnixNano())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.changed:
		}
		batch = l.appendTo(batch[:0])
		for _, q := range batch {
			if q.conn.http1 != nil {
				q.conn.http1.Watch()
			}
			if q.refused.Load() == nil {
				if d := decide(q); !d.OK() {
					cut(q, d)
				}
			}
			if q.refused.Load() != nil {
				q.out.abortOverdue(time.Now())
			}
			q.out.watch(time.Now(), stall)
		}
		clear(batch)
	}
}

// watch looks at answers to requests that were not admitted, as sweep does for the
// others, until ctx ends.
func (l *live) watch(ctx context.Context, stall time.Duration) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var batch []*request
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		batch = l.appendTo(batch[:0])
		for _, q := range batch {
			q.out.watch(time.Now(), stall)
		}
		clear(batch)
	}
}

func (l *live) appendTo(batch []*request) []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	for q := l.root.after; q != &l.root; q = q.after {
		batch = append(batch, q)
	}
	return batch
}
