package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/server/store"
)

// watch counts the calls of Watch until the test ends.
func watch(t *testing.T, s *store.Store) *atomic.Int64 {
	t.Helper()
	var calls atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Watch(ctx, 5*time.Millisecond, func() error { calls.Add(1); return nil })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return &calls
}

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	calls := watch(t, s)
	await(t, "the call at the start", func() bool { return calls.Load() == 1 })

	another := func() {
		p := newProcess(t, dir, 1)
		p.start()
		if err := p.wait(); err != nil {
			t.Fatal(err)
		}
	}
	e := add(t, s, "acme")
	await(t, "an addition by this process", func() bool { return calls.Load() == 2 })
	if err := s.RevokeKey(t.Context(), e.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	await(t, "a revocation by this process", func() bool { return calls.Load() == 3 })
	another()
	await(t, "a write by another process", func() bool { return calls.Load() > 3 })

	// Reading is no change. Some rounds go by while nothing is written.
	before := calls.Load()
	for range 50 {
		keys(t, s)
		time.Sleep(time.Millisecond)
	}
	if got := calls.Load(); got > before+1 { // the other's writes may have been seen one by one
		t.Errorf("%d calls for reading", got-before)
	}
}

// A folder that is gone, and one put in its place, are out of reach: what would
// be read from them is not what others write. Watch outlives both.
func TestWatchOutOfReach(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var log lockedBuffer
	s, err := store.Open(t.Context(), dir, store.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	add(t, s, "acme")
	calls := watch(t, s)
	await(t, "the call at the start", func() bool { return calls.Load() == 1 })
	logged := func(n int) func() bool {
		return func() bool { return strings.Count(log.String(), "out of reach") == n }
	}
	away := dir + ".away"
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	unreachable := func() bool { return s.Ping(t.Context()) != nil }

	rename(dir, away)
	await(t, "the log tells that the folder is gone", logged(1))
	if _, err := s.Keys(t.Context()); err == nil || !unreachable() {
		t.Errorf("a folder that is gone can be read: %v", err)
	}
	_, e := mint(t, "acme")
	if err := s.AddKey(t.Context(), e, ""); err == nil {
		t.Error("a write to a folder that is gone was acknowledged")
	}
	if err := s.RevokeKey(t.Context(), e.ID, time.Now()); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("a revocation in a folder that is gone: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder was made: %v", err)
	}
	rename(away, dir)
	await(t, "the call when it is back", func() bool { return calls.Load() > 1 })
	if unreachable() {
		t.Error("Ping says it is still gone")
	}

	rename(dir, away)
	other := open(t, dir) // as a restored backup would be
	add(t, other, "globex")
	await(t, "the log tells that the folder is another", logged(2))
	if !unreachable() {
		t.Error("Ping takes another file for ours")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	rename(dir, dir+".other")
	rename(away, dir)
	before := calls.Load()
	add(t, s, "acme")
	await(t, "a change after all that", func() bool { return calls.Load() > before })
}

// A lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What was told and not taken is told again, without a further change.
func TestWatchTellsAgain(t *testing.T) {
	s := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := 0
	s.Watch(ctx, time.Millisecond, func() error {
		if calls++; calls < 3 {
			return errors.New("not now")
		}
		cancel()
		return nil
	})
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
}
