// Package keyset holds the signature keys of token issuers (JWK Sets, RFC 7517):
// from a URL, by OpenID Connect discovery, or from a file.
//
// A [Set] has one immutable [Keys] at a time, which a decision reads without I/O.
// [Set.Run] does all fetching: at the start, hourly, and once where a token names
// a key that is not there, at most once in five minutes however many such tokens
// come. What cannot be fetched or read leaves the last good keys in force, for a
// day.
//
// It refuses keys that are not for signatures, are private or symmetric, too
// small, of an unknown kind, or without a name of their own.
package keyset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/pki/regularfile"
)

// Options of a Set. Issuer is required, and Client where the keys are fetched.
type Options struct {
	Issuer string // exactly as tokens name it
	URL    string // of the JWK Set; or
	File   string // that holds it; or neither: discovery
	Client *http.Client

	Every        time.Duration // between refreshes; 1 h
	Grace        time.Duration // how long the last good keys count after they were fetched; 24 h
	UnknownEvery time.Duration // between fetches for keys that are not there; 5 min

	Now       func() time.Time
	Logger    *slog.Logger
	OnRefresh func(err error) // after each fetch or reading
	OnChange  func()          // when there are other keys, before those who wait for them go on
}

// A Set is the key set of one issuer. Safe for concurrent use.
type Set struct {
	opts    Options
	log     *slog.Logger
	keys    atomic.Pointer[Keys]
	success atomic.Int64 // when the keys were last seen, Unix nanoseconds

	ask chan struct{}

	mu    sync.Mutex
	told  *Keys         // that OnChange has put in force
	busy  bool          // a fetch is asked for or under way
	round chan struct{} // closed when it is over
	asked time.Time     // when a key that is not there was last asked for
}

// New makes a set without keys; a file is read by [Set.Reload], the rest fetched
// by [Set.Run].
func New(opts Options) (*Set, error) {
	switch {
	case opts.Issuer == "":
		return nil, errors.New("keyset: no issuer")
	case opts.File == "" && opts.Client == nil:
		return nil, errors.New("keyset: no client to fetch with")
	case opts.File != "" && opts.URL != "":
		return nil, errors.New("keyset: both a file and a URL")
	}
	for value, otherwise := range map[*time.Duration]time.Duration{&opts.Every: time.Hour, &opts.Grace: 24 * time.Hour, &opts.UnknownEvery: 5 * time.Minute} {
		if *value <= 0 {
			*value = otherwise
		}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Set{opts: opts, log: opts.Logger.With("issuer", opts.Issuer), ask: make(chan struct{}, 1), round: make(chan struct{})}
	s.busy = opts.File == "" // the first fetch is due
	return s, nil
}

// Keys returns those in force, or nil where there never were any.
func (s *Set) Keys() *Keys { return s.keys.Load() }

// File returns the file that the keys are read from, or "".
func (s *Set) File() string { return s.opts.File }

// Fresh reports whether the keys in force may still be believed: those of a file
// always, those that were fetched for the grace after they were last seen.
func (s *Set) Fresh(now time.Time) bool {
	return s.keys.Load() != nil && (s.opts.File != "" || now.Sub(time.Unix(0, s.success.Load())) <= s.opts.Grace)
}

// Seen returns when the keys were last fetched or read; zero where never.
func (s *Set) Seen() time.Time {
	if at := s.success.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Await waits until a fetch that is under way is over, or one that it asks for
// because have, the keys in force, lack one that a token names. It returns at once
// where other keys are in force by now or where such a fetch was made lately, and
// when ctx ends. Keys that were fetched and that OnChange is putting in force are
// waited for: who decides before that decides by the old ones.
func (s *Set) Await(ctx context.Context, have *Keys) {
	s.mu.Lock()
	round, now := s.round, s.keys.Load()
	if now != have && (now == s.told || !s.busy) || !s.busy && !s.mayAsk(have) {
		s.mu.Unlock()
		return
	}
	if !s.busy {
		s.busy, s.asked = true, s.opts.Now()
		s.ask <- struct{}{} // has room: one for each busy
	}
	s.mu.Unlock()
	select {
	case <-round:
	case <-ctx.Done():
	}
}

// Refresh has the keys fetched anew, at an operator's word; it does not wait.
func (s *Set) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.busy && s.opts.File == "" {
		s.busy = true
		s.ask <- struct{}{}
	}
}

// mayAsk: a set that never came has its retries, a file its owner.
func (s *Set) mayAsk(have *Keys) bool {
	return have != nil && s.opts.File == "" &&
		(s.asked.IsZero() || s.opts.Now().Sub(s.asked) >= s.opts.UnknownEvery)
}

// Run fetches until ctx ends. It returns at once for a file.
func (s *Set) Run(ctx context.Context) {
	if s.opts.File != "" {
		return
	}
	defer s.opts.Client.CloseIdleConnections()
	var wait, backoff time.Duration
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			s.begin()
		case <-s.ask:
			timer.Stop()
		}
		err := s.refresh(ctx, func() (keys *Keys, err error) {
			err = contain.Do(s.log, "fetch keys", func() error { keys, err = s.fetch(ctx); return err })
			return keys, err
		})
		s.end()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			wait, backoff = jitter(s.opts.Every), 0
			continue
		}
		backoff = min(max(2*backoff, time.Second), 5*time.Minute, s.opts.Every)
		wait = jitter(backoff)
		s.log.Warn("keys not refreshed, those in force stay", "err", err, "again", wait.Round(time.Millisecond), "seen", s.Seen())
	}
}

// jitter is up to a tenth less.
func jitter(d time.Duration) time.Duration { return d - time.Duration(rand.Int64N(int64(d/10)+1)) }

func (s *Set) begin() {
	s.mu.Lock()
	s.busy = true
	s.mu.Unlock()
}

func (s *Set) end() {
	s.mu.Lock()
	select {
	case <-s.ask: // asked for what has just been done
	default:
	}
	s.busy = false
	close(s.round)
	s.round = make(chan struct{})
	s.mu.Unlock()
}

// Reload reads the file again; it does nothing for what is fetched.
func (s *Set) Reload() error {
	if s.opts.File == "" {
		return nil
	}
	return s.refresh(context.Background(), func() (*Keys, error) {
		return ReadFile(s.opts.File)
	})
}

// ReadFile reads a JWK Set from a regular file of at most 1 MiB.
func ReadFile(name string) (*Keys, error) {
	data, err := regularfile.Read(name, maxBody)
	if err != nil {
		return nil, err
	}
	keys, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}

// refresh takes what get returns, where it is good, and tells of it unless ctx has
// ended: nobody asks for the keys any more.
func (s *Set) refresh(ctx context.Context, get func() (*Keys, error)) error {
	next, err := get()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		s.success.Store(s.opts.Now().UnixNano())
		if cur := s.keys.Load(); cur == nil || cur.digest != next.digest {
			s.keys.Store(next)
			s.log.Info("keys in force", "keys", strings.Join(next.IDs(), " "), "passedOver", strings.Join(next.PassedOver, "; "))
			if s.opts.OnChange != nil {
				s.opts.OnChange()
			}
			s.mu.Lock()
			s.told = next
			s.mu.Unlock()
		}
	}
	if s.opts.OnRefresh != nil {
		s.opts.OnRefresh(err)
	}
	return err
}
