package revocation

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/pki/contain"
)

// Pauses between looks. A list that its issuer is late with is asked for more
// and more often as it nears its end, but not more often than minPause.
const (
	minPause     = 10 * time.Second
	firstBackoff = 5 * time.Second
)

// An origin is where a list comes from.
type origin interface {
	// read returns the bytes of the list, or nil where they are those it
	// returned before and kept was called since. With anew it returns them
	// in any case.
	read(ctx context.Context, anew bool) ([]byte, error)
	// kept tells that what was read last is held.
	kept()
}

// An item is one file or URL of a Source.
type item struct {
	name   string
	from   origin
	source *Source
	again  chan struct{}

	served  map[listKey]int // by the order in which they were first seen; guarded by source.mu
	unsaved bool            // that changed; guarded by source.mu

	unsigned atomic.Bool // what came last was not signed by a known issuer

	mu     sync.Mutex // one look at a time; guards what follows
	sum    [sha256.Size]byte
	failed int  // looks in a row
	unkept bool // the list that came last could not be written to disk
}

func newItem(s *Source, name string, from origin) *item {
	return &item{name: name, from: from, source: s, again: make(chan struct{}, 1), served: make(map[listKey]int)}
}

// list returns the list that the item stands for; nil: none yet.
func (it *item) list() *CRL { return it.source.current.Load().own[it.name] }

func (it *item) run(ctx context.Context) {
	anew, pause := false, it.begin()
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-it.again:
			anew = true
		case <-timer.C:
			anew = false
		}
		timer.Stop()
		pause, _ = it.refresh(ctx, anew)
	}
}

// lookAnew tells run to look at once, whether the list seems changed or not.
func (it *item) lookAnew() {
	select {
	case it.again <- struct{}{}:
	default: // told already
	}
}

// begin returns how long to wait for the first look. A look that somebody waits for
// may be under way.
func (it *item) begin() time.Duration {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.list() == nil {
		return 0
	}
	return it.pause()
}

// refresh looks at the list once, tells about it, and returns how long to wait
// for the next look.
func (it *item) refresh(ctx context.Context, anew bool) (time.Duration, error) {
	it.mu.Lock()
	defer it.mu.Unlock()
	outcome := Failed
	err := contain.Do(it.source.opts.Logger, "refresh a CRL", func() (err error) {
		outcome, err = it.look(ctx, anew)
		return err
	})
	if ctx.Err() != nil && outcome == Failed {
		return 0, fmt.Errorf("%s: %w", it.name, ctx.Err())
	}
	it.unsigned.Store(errors.Is(err, ErrIssuer))
	if err != nil {
		it.failed++
		err = fmt.Errorf("%s: %w", it.name, err)
	} else {
		it.failed = 0
	}
	it.tell(ctx, outcome, err)
	it.source.opts.OnUpdate(Update{Name: it.name, Outcome: outcome, Err: err, List: it.list()})
	return it.pause(), err
}

func (it *item) look(ctx context.Context, anew bool) (Outcome, error) {
	s := it.source
	anew = anew || it.unkept || it.list() == nil
	s.restore(ctx)
	s.sweep()
	data, err := it.from.read(ctx, anew)
	if err != nil {
		return Failed, err
	}
	sum := it.sum
	if data != nil {
		sum = sha256.Sum256(data)
	}
	if it.list() != nil && sum == it.sum && !anew {
		it.from.kept()
		return it.state(Unchanged)
	}
	next, stale := ParseCRL(data, s.issuers(), s.opts.Now())
	if next == nil {
		return Refused, stale
	}
	next.Name, next.sum = it.name, sum
	before := it.list()
	changed, err := s.hold(it, next)
	it.keep(next, data, changed)
	if err != nil {
		return Refused, err
	}
	it.sum = sum
	it.from.kept()
	if own := it.list(); before != nil && own.id == before.id && next.id != own.id && next.id.issuer == own.id.issuer {
		s.opts.Logger.WarnContext(ctx, "a CRL of another scope came from here; the one held stays beside it", "name", it.name)
	}
	switch {
	case stale != nil:
		return Stale, stale
	case changed:
		return it.state(Loaded)
	}
	return it.state(Unchanged)
}

func (it *item) keep(list *CRL, data []byte, changed bool) {
	if changed || it.unkept {
		it.unkept = !it.source.keep(list, data)
	}
	it.source.keepPlace(it)
}

// state returns the outcome of a look that brought what it should, unless the list that
// the item stands for has ended.
func (it *item) state(outcome Outcome) (Outcome, error) {
	if own := it.list(); it.source.opts.Now().After(own.NextUpdate) {
		return Stale, fmt.Errorf("still the list that ended at %s: %w", stamp(own.NextUpdate), ErrStale)
	}
	return outcome, nil
}

func (it *item) tell(ctx context.Context, outcome Outcome, err error) {
	log := it.source.opts.Logger.With("name", it.name)
	held := it.list()
	if held != nil {
		log = log.With("entries", held.Len(), "this_update", held.ThisUpdate, "next_update", held.NextUpdate)
	}
	switch {
	case errors.Is(err, ErrStale):
		log.LogAttrs(ctx, slog.LevelError, "revocation list is stale", slog.Any("err", err))
	case err != nil && held != nil:
		log.LogAttrs(ctx, slog.LevelWarn, "revocation list not taken; the last good stays", slog.Any("err", err))
	case err != nil:
		log.LogAttrs(ctx, slog.LevelError, "revocation list not taken; there is none yet", slog.Any("err", err))
	case outcome == Loaded:
		log.LogAttrs(ctx, slog.LevelInfo, "revocation list loaded", slog.Any("number", held.Number))
	}
}

// pause is the time to the next look: two thirds of the list's own time, and no
// more than Every; after a failure, a backoff. Jitter only shortens it.
func (it *item) pause() time.Duration {
	every := it.source.opts.Every
	held := it.list()
	if it.failed > 0 || held == nil {
		backoff := firstBackoff << min(max(it.failed-1, 0), 20)
		return jitter(min(backoff, every), 0.5)
	}
	left := held.NextUpdate.Sub(it.source.opts.Now())
	due := left - held.NextUpdate.Sub(held.ThisUpdate)/3
	if due <= 0 {
		due = max(left/4, minPause)
	}
	return jitter(min(due, every), 0.1)
}

// jitter takes up to the given part away.
func jitter(d time.Duration, part float64) time.Duration {
	return d - time.Duration(rand.Float64()*part*float64(d))
}
