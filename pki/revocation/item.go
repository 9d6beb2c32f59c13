package revocation

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
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

// An item is one list of a Source.
type item struct {
	name   string
	from   origin
	source *Source
	kept   string // how the files begin that lists are kept in; empty: they are not
	again  chan struct{}
	held   atomic.Pointer[CRL]
	others atomic.Pointer[[]*CRL] // of issuers that signed here before

	mu       sync.Mutex // one look at a time; guards what follows
	sum      [sha256.Size]byte
	failed   int // looks in a row
	restored bool
}

func newItem(s *Source, name string, from origin) *item {
	return &item{name: name, from: from, source: s, again: make(chan struct{}, 1)}
}

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

// begin returns how long to wait for the first look. A look that somebody waits for
// may be under way.
func (it *item) begin() time.Duration {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.held.Load() == nil {
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
	if err != nil {
		it.failed++
		err = fmt.Errorf("%s: %w", it.name, err)
	} else {
		it.failed = 0
	}
	it.tell(ctx, outcome, err)
	it.source.opts.OnUpdate(Update{Name: it.name, Outcome: outcome, Err: err, List: it.held.Load()})
	return it.pause(), err
}

func (it *item) look(ctx context.Context, anew bool) (Outcome, error) {
	opts := &it.source.opts
	anew = anew || it.held.Load() == nil
	it.restore()
	held := it.held.Load()
	data, err := it.from.read(ctx, anew)
	if err != nil {
		return Failed, err
	}
	sum := it.sum
	if data != nil {
		sum = sha256.Sum256(data)
	}
	now := opts.Now()
	if held != nil && sum == it.sum && !anew {
		it.from.kept()
		if now.After(held.NextUpdate) {
			return Stale, fmt.Errorf("still the list that ended at %s: %w", stamp(held.NextUpdate), ErrStale)
		}
		return Unchanged, nil
	}
	next, err := ParseCRL(data, opts.Issuers(), now)
	if next == nil {
		return Refused, err
	}
	next.Name = it.name
	if held != nil {
		if err := next.replaces(held); err != nil {
			return Refused, err
		}
	}
	same := held != nil && sum == it.sum
	it.sum = sum
	it.from.kept()
	if !same {
		it.keep(next, data)
	}
	if !same || !sameIssuer(held, next) {
		it.hold(next)
	}
	switch {
	case err != nil: // ErrStale
		return Stale, err
	case same:
		return Unchanged, nil
	}
	return Loaded, nil
}

// maxOthers bounds the lists of earlier issuers that one place keeps.
const maxOthers = 8

// hold puts a list in force. That of another issuer which stood in its place
// stays beside it: a CA that has changed its key signs lists with the new one at
// once, and certificates of the old one are still about. It ends by itself.
func (it *item) hold(next *CRL) {
	others := slices.DeleteFunc(slices.Clone(it.earlier()), func(c *CRL) bool { return sameList(c, next) })
	if held := it.held.Load(); held != nil && !sameList(held, next) {
		others = append(others, held)
	}
	others = others[max(0, len(others)-maxOthers):]
	it.others.Store(&others)
	it.held.Store(next)
	it.source.publish()
}

func (it *item) earlier() []*CRL {
	if others := it.others.Load(); others != nil {
		return *others
	}
	return nil
}

// sameList reports whether one of them can take the place of the other.
func sameList(a, b *CRL) bool {
	return issuerKeyOf(a.Issuer) == issuerKeyOf(b.Issuer) && a.scope == b.scope
}

func sameIssuer(a, b *CRL) bool { return a.Issuer.Equal(b.Issuer) }

func (it *item) tell(ctx context.Context, outcome Outcome, err error) {
	log := it.source.opts.Logger.With("name", it.name)
	held := it.held.Load()
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
	held := it.held.Load()
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
