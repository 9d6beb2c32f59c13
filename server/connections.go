package server

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/auth"
)

// endedGrace is how long a connection whose certificate is no longer good stays
// open for its client to be told so: the next request is answered 401 and ends
// it. Nothing else can be had on it.
const endedGrace = 10 * time.Second

// connections holds the open ones, and ends those that are too old or whose
// certificate is no longer good.
type connections struct {
	maxAge, grace time.Duration

	changed chan struct{} // by recheck

	mu   sync.Mutex
	open map[*connection]struct{}
}

func newConnections(maxAge, grace time.Duration) *connections {
	return &connections{maxAge: maxAge, grace: grace, changed: make(chan struct{}, 1), open: make(map[*connection]struct{})}
}

// add takes a connection in, the handshake done. Its age is cut by up to a
// tenth, so that those that came together do not go together.
func (cs *connections) add(c *connection, now time.Time) {
	c.since = now
	c.retire = now.Add(cs.maxAge - time.Duration(rand.Int64N(int64(cs.maxAge/10)+1)))
	cs.mu.Lock()
	cs.open[c] = struct{}{}
	cs.mu.Unlock()
}

func (cs *connections) remove(c *connection) {
	cs.mu.Lock()
	delete(cs.open, c)
	cs.mu.Unlock()
}

// retiring has the answer to a request on an old connection be its last:
// HTTP/1.1 is told to close, HTTP/2 to go away when its streams have ended.
func retiring(w http.ResponseWriter, c *connection, now time.Time) {
	if c.retire.Before(now) {
		w.Header().Set("Connection", "close")
	}
}

// recheck has the sweep look at once who has lost its anchor.
func (cs *connections) recheck() {
	select {
	case cs.changed <- struct{}{}:
	default: // a look is due already
	}
}

// sweep closes connections whose time is over, each second, and after each
// recheck tells how many have newly lost their anchor, until ctx ends.
//
// Those whose client has taken nothing of what is written to them for the time stall
// it hands to stalled.
func (cs *connections) sweep(ctx context.Context, gate *auth.Gate, now func() time.Time, dropped func(n int), stall time.Duration, stalled func(*connection)) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-cs.changed:
			if n := cs.untrusted(gate.Snapshot().PKI, now()); n > 0 {
				dropped(n)
			}
		}
		for _, c := range cs.over(gate, now()) {
			_ = c.Close() // the client may have been quicker
		}
		for _, c := range cs.stalled(stall) {
			stalled(c)
		}
	}
}

// stalled returns the connections whose client has taken nothing for that long.
func (cs *connections) stalled(limit time.Duration) (stalled []*connection) {
	now := time.Now()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		if c.stalled(now) >= limit {
			stalled = append(stalled, c)
		}
	}
	return stalled
}

// untrusted counts the connections whose certificate newly has no chain under s.
func (cs *connections) untrusted(s *pki.Snapshot, now time.Time) (n int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		lost := c.peer.Check(s, now) == pki.CertUntrusted
		if lost && !c.lost {
			n++
		}
		c.lost = lost
	}
	return n
}

// unusedSince returns for how long nothing has been in progress on a connection.
func unusedSince(c *connection, now time.Time) time.Duration {
	since, ok := c.Idle()
	if !ok {
		return 0
	}
	return now.Sub(time.Unix(0, since))
}

// over returns the connections to close. One whose certificate maps to no tenant
// is closed when it is idle.
func (cs *connections) over(gate *auth.Gate, now time.Time) (over []*connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		d := gate.CheckCertificate(c.peer, nil)
		switch {
		case now.After(c.retire.Add(cs.grace)):
			over = append(over, c)
		case c.tenant == "" && unusedSince(c, time.Now()) > endedGrace:
			over = append(over, c)
		case d.OK():
			c.ended = time.Time{}
		case c.ended.IsZero():
			c.ended = now
		case now.Sub(c.ended) > endedGrace:
			over = append(over, c)
		}
	}
	return over
}
