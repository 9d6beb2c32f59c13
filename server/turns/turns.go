// Package turns shares CPU between tenants: work that costs much of it is done by a few
// requests at a time, and the others wait for their turn.
//
// Go runs what is runnable in the order in which it became so, and runs one goroutine
// for up to 10 ms. So if hundreds of requests of one tenant decode large bodies at once,
// a request of another waits behind all of them at each of its steps. Who waits here
// is not runnable. Tenants come in turn, and the identities of a tenant do, however many
// requests each has waiting; requests of one identity come in their order.
//
// Small requests take no turn and never wait. Nothing here starts a goroutine but timers.
package turns

import (
	"context"
	"runtime"
	"sync"
)

// Large is the size of a body or answer, in bytes, above which work on it takes a turn.
const Large = 16 << 10

// Turns are a number of turns that may be had at the same time. Safe for concurrent use.
type Turns struct {
	mu      sync.Mutex
	free    int
	tenants rota[*rota[*line]] // with who waits, of each identity
}

// A line is that of one identity's requests.
type line struct{ waiting []*waiter }

// A waiter waits for a turn.
type waiter struct {
	turn chan struct{} // closed when it has the turn
	gone bool          // it waits no longer; under Turns.mu
}

// New makes n turns.
func New(n int) *Turns { return &Turns{free: max(n, 1)} }

// ForCPU makes as many turns as there are processors for Go, less one that is left to all else:
// with none idle, Go looks for what comes from the network only every 10 ms.
func ForCPU() *Turns { return New(runtime.GOMAXPROCS(0) - 1) }

// Take waits for a turn of an identity of a tenant. Whoever gets one gives it back by
// Give. If ctx ends before, Take returns its cause.
func (t *Turns) Take(ctx context.Context, tenant, identity string) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	w := &waiter{turn: make(chan struct{})}
	of := t.tenants.at(tenant, newIdentities).at(identity, newLine)
	of.waiting = append(of.waiting, w)
	t.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-w.turn: // at the same moment
		t.give()
	default:
		w.gone = true
	}
	return context.Cause(ctx)
}

// Waiting returns how many wait.
func (t *Turns) Waiting() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, identities := range t.tenants.all {
		for _, of := range identities.all {
			n += len(of.waiting)
		}
	}
	return n
}

// Give gives a turn back, to whom it is next.
func (t *Turns) Give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.give()
}

// give is Give for who holds mu.
func (t *Turns) give() {
	for {
		w := t.next()
		switch {
		case w == nil:
			t.free++
			return
		case !w.gone:
			close(w.turn)
			return
		}
	}
}

// next takes out who is next, gone or not; nil: nobody waits.
func (t *Turns) next() *waiter {
	identities, ok := t.tenants.first()
	if !ok {
		return nil
	}
	of, _ := identities.first()
	w := of.waiting[0]
	of.waiting = of.waiting[1:]
	identities.after(len(of.waiting) > 0)
	t.tenants.after(identities.len() > 0)
	return w
}

func newIdentities() *rota[*line] { return new(rota[*line]) }
func newLine() *line              { return new(line) }

// A rota has names come in turn, each with something of its own. The zero rota is empty.
type rota[T any] struct {
	order []string
	all   map[string]T
}

// at returns what a name has, and has it come last if it is new.
func (r *rota[T]) at(name string, made func() T) T {
	of, ok := r.all[name]
	if ok {
		return of
	}
	if r.all == nil {
		r.all = make(map[string]T)
	}
	of = made()
	r.all[name] = of
	r.order = append(r.order, name)
	return of
}

// first returns what the next name has.
func (r *rota[T]) first() (of T, ok bool) {
	if len(r.order) == 0 {
		return of, false
	}
	return r.all[r.order[0]], true
}

// after has the next name come last, or leave.
func (r *rota[T]) after(stays bool) {
	name := r.order[0]
	r.order = r.order[1:]
	if stays {
		r.order = append(r.order, name)
		return
	}
	delete(r.all, name)
}

func (r *rota[T]) len() int { return len(r.order) }
