package stepca

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/pki/contain"
)

// attemptTimeout bounds one attempt, all its calls and Options.Enrol included.
const attemptTimeout = time.Minute

// RenewerOptions shape a [Renewer]. The zero value rekeys at two thirds.
type RenewerOptions struct {
	KeepKey bool    // renew with the same key
	RenewAt float64 // share of the lifetime, above 0 and below 1; 2/3 when zero

	// Enrol gets a first certificate when the store is empty, and a new one
	// when the old has expired or is in the last tenth of its lifetime and the
	// authority does not renew it. Nil: an empty store is an error, an expired
	// certificate is retried for ever.
	Enrol func(context.Context) (*Pair, error)

	// Stale tells, of a pair found in the store, that renewing it would not do
	// and it is to be enrolled anew at once (other names are wanted now). Should
	// that fail, it is renewed when due all the same.
	Stale func(*Pair) bool

	OnPair  func(*Pair)     // a pair is held now, though maybe not saved yet; must not block
	OnEvent func(Event)     // called from Run's goroutine; must not block
	OnPlan  func(time.Time) // the next attempt or renewal; from there, too
	Logger  *slog.Logger
	Now     func() time.Time
}

// A Renewer keeps the certificate in one store alive. It is the store's only
// writer, but takes up a later certificate that someone else put there.
type Renewer struct {
	store  Store
	issuer Issuer
	opts   RenewerOptions
	next   atomic.Pointer[time.Time]

	// Of Run's goroutine alone.
	pair     *Pair       // nil: none yet
	due      time.Time   // when pair is to be replaced
	dirty    bool        // pair is not in the store yet
	stale    bool        // Options.Stale said so
	failures int         // in a row
	recent   []time.Time // when pairs were obtained, at most burst, the latest last
}

// NewRenewer returns a renewer that does nothing before [Renewer.Run].
func NewRenewer(store Store, issuer Issuer, opts RenewerOptions) (*Renewer, error) {
	if opts.RenewAt == 0 {
		opts.RenewAt = renewAt
	}
	if opts.RenewAt <= spread || opts.RenewAt >= 1 {
		return nil, fmt.Errorf("stepca: renewal at %v of the lifetime; give a share between %v and 1", opts.RenewAt, spread)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.OnEvent == nil {
		opts.OnEvent = func(Event) {}
	}
	if opts.OnPlan == nil {
		opts.OnPlan = func(time.Time) {}
	}
	if opts.OnPair == nil {
		opts.OnPair = func(*Pair) {}
	}
	return &Renewer{store: store, issuer: issuer, opts: opts}, nil
}

// Next returns when the next attempt or renewal is planned; zero before Run.
func (r *Renewer) Next() time.Time {
	if t := r.next.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// Run renews until ctx ends, and then returns nil. It returns an error at once
// when the store cannot be read, or is empty with no way to enrol.
func (r *Renewer) Run(ctx context.Context) error {
	pair, err := r.store.Load()
	switch {
	case err == nil:
		r.hold(pair, time.Time{})
	case errors.Is(err, fs.ErrNotExist) && r.opts.Enrol != nil:
		r.plan(r.opts.Now())
	default:
		return err
	}
	for r.sleep(ctx) {
		r.turn(ctx)
	}
	return nil
}

// turn makes one attempt and plans what comes next.
func (r *Renewer) turn(ctx context.Context) {
	if r.adopt() {
		return
	}
	var op Op
	err := contain.Do(r.opts.Logger, "renew the certificate", func() (err error) {
		op, err = r.attempt(ctx)
		return err
	})
	if err == nil {
		r.failures = 0
		r.opts.OnEvent(r.event(op, nil))
		return
	}
	if ctx.Err() != nil {
		return // we were told to stop; that is nobody's failure
	}
	r.failures++
	now := r.opts.Now()
	r.plan(now.Add(backoff(r.failures, r.left(now), jitter())))
	r.complain(ctx, op, err, now)
	r.opts.OnEvent(r.event(op, err))
}

// adopt takes up a certificate that ends later than ours, put in the store by
// another hand. It tells whether there is nothing more to do this turn.
func (r *Renewer) adopt() bool {
	if r.pair == nil || r.dirty {
		return false
	}
	found, err := r.store.Load()
	if err != nil || !found.Leaf().NotAfter.After(r.pair.Leaf().NotAfter) {
		return false
	}
	err = worse(found.Leaf(), r.pair.Leaf(), r.opts.Now())
	if err == nil {
		err = wanted{names: names(r.pair.Leaf())}.vetNames(found.Leaf())
	}
	if err != nil {
		r.opts.Logger.Warn("a certificate that somebody put into the store is not taken", "err", err)
		return false
	}
	r.failures = 0
	r.hold(found, time.Time{})
	return r.opts.Now().Before(r.Next())
}

// attempt gets a new pair, unless a good one waits to be saved, and saves it.
func (r *Renewer) attempt(ctx context.Context) (Op, error) {
	op := OpSave
	if !r.dirty || !r.opts.Now().Before(r.due) {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		var pair *Pair
		var err error
		if op, pair, err = r.obtain(ctx); err == nil && pair == nil {
			err = errors.New("no certificate came back")
		}
		if err != nil {
			return op, err
		}
		r.dirty = true
		now := r.opts.Now()
		r.recent = append(r.recent, now)
		r.recent = r.recent[max(0, len(r.recent)-burst):]
		r.hold(pair, now)
	}
	if err := r.store.Save(r.pair); err != nil {
		return op, fmt.Errorf("keep the new certificate: %w", err)
	}
	r.dirty = false
	r.plan(r.due)
	r.opts.Logger.InfoContext(ctx, "certificate in place", "op", op, "serial", r.pair.Leaf().SerialNumber.Text(16),
		"notAfter", r.pair.Leaf().NotAfter, "nextRenewal", r.Next())
	return op, nil
}

// obtain asks for what the state of the present pair calls for.
func (r *Renewer) obtain(ctx context.Context) (Op, *Pair, error) {
	if r.pair == nil {
		pair, err := r.opts.Enrol(ctx)
		return OpEnrol, pair, err
	}
	now := r.opts.Now()
	if r.stale {
		pair, err := r.opts.Enrol(ctx)
		if err == nil || now.Before(r.due) {
			return OpEnrol, pair, err
		}
	}
	op, pair, err := r.replace(ctx, now)
	if err == nil || r.opts.Enrol == nil || !r.late(now) || ctx.Err() != nil {
		return op, pair, err
	}
	pair, enrolErr := r.opts.Enrol(ctx)
	if enrolErr != nil {
		return OpEnrol, nil, errors.Join(err, enrolErr)
	}
	return OpEnrol, pair, nil
}

// replace trades the present pair for a new one.
func (r *Renewer) replace(ctx context.Context, now time.Time) (Op, *Pair, error) {
	if r.opts.KeepKey || r.left(now) <= 0 {
		pair, err := r.issuer.Renew(ctx, r.pair)
		return OpRenew, pair, err
	}
	pair, err := r.issuer.Rekey(ctx, r.pair)
	return OpRekey, pair, err
}

// hold makes pair the present one and plans its renewal.
func (r *Renewer) hold(pair *Pair, obtained time.Time) {
	leaf := pair.Leaf()
	r.pair = pair
	r.due = due(leaf.NotBefore, leaf.NotAfter, obtained, r.opts.RenewAt, jitter())
	if soonest := paced(r.recent); r.due.Before(soonest) {
		r.due = soonest
	}
	r.plan(r.due)
	// Not of one just obtained: what an authority answers must not make us ask
	// again at once.
	r.stale = obtained.IsZero() && r.opts.Enrol != nil && r.opts.Stale != nil && r.opts.Stale(pair)
	if r.stale {
		r.plan(r.opts.Now())
	}
	r.opts.Logger.Debug("renewal planned", "notAfter", leaf.NotAfter, "at", r.Next())
	r.opts.OnPair(pair)
}

func (r *Renewer) complain(ctx context.Context, op Op, err error, now time.Time) {
	level, left := slog.LevelWarn, r.left(now)
	if r.late(now) {
		level = slog.LevelError
	}
	r.opts.Logger.Log(ctx, level, "certificate not renewed, will try again",
		"op", op, "failures", r.failures, "left", left.Round(time.Second), "next", r.Next(), "err", err)
}

// late tells that the present pair, if any, is in the last tenth of its lifetime.
func (r *Renewer) late(now time.Time) bool {
	return r.pair == nil || r.left(now) < r.pair.Leaf().NotAfter.Sub(r.pair.Leaf().NotBefore)/10
}

// left returns the time to the present certificate's end; none is an end.
func (r *Renewer) left(now time.Time) time.Duration {
	if r.pair == nil {
		return 0
	}
	return r.pair.Leaf().NotAfter.Sub(now)
}

func (r *Renewer) event(op Op, err error) Event {
	e := Event{Op: op, Err: err, Next: r.Next()}
	if r.pair != nil {
		e.NotAfter = r.pair.Leaf().NotAfter
	}
	return e
}

func (r *Renewer) plan(at time.Time) {
	at = at.Round(0) // wall clock: it moves while a machine sleeps
	r.next.Store(&at)
	r.opts.OnPlan(at)
}

// sleep waits for the planned time; false means ctx ended. It looks at the
// clock once a minute, because timers stand still while a machine sleeps.
func (r *Renewer) sleep(ctx context.Context) bool {
	for {
		if ctx.Err() != nil {
			return false
		}
		d := r.Next().Sub(r.opts.Now())
		if d <= 0 {
			return true
		}
		t := time.NewTimer(min(d, time.Minute))
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
	}
}
