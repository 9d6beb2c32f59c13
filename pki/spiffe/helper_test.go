package spiffe_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/spiffe"
	"github.com/sangate/sangate/pki/spiffe/spiffetest"
)

const domain, gateID = "example.org", "spiffe://example.org/gate"

// A running is a Source that follows an agent, with all it says.
type running struct {
	*spiffe.Source
	t      *testing.T
	events chan spiffe.Event
	log    *logBuffer
	swaps  chan struct{} // one for each Notify
	stop   func() error  // ends Run and returns what it returned
}

// follow runs a Source over the agent until the test ends, and holds its log
// against every key the agent had given.
func follow(t *testing.T, a *spiffetest.Agent, opts spiffe.Options) *running {
	t.Helper()
	r := &running{
		t: t, log: new(logBuffer), events: make(chan spiffe.Event, 100), swaps: make(chan struct{}, 100),
	}
	if opts.Address == "" {
		opts.Address = a.Address()
	}
	opts.Logger = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	opts.OnEvent = func(e spiffe.Event) { r.events <- e }
	var err error
	if r.Source, err = spiffe.New(opts); err != nil {
		t.Fatal(err)
	}
	r.Notify(func() { r.swaps <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(30 * time.Second):
			t.Error("Run does not end with its context")
			return nil
		}
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		r.noKeys(a)
	})
	return r
}

// next returns the next event of the kind, skipping others.
func (r *running) next(op spiffe.Op) spiffe.Event {
	r.t.Helper()
	end := time.After(30 * time.Second)
	for {
		select {
		case e := <-r.events:
			if e.Op == op {
				return e
			}
		case <-end:
			r.t.Fatalf("no %s event; the log:\n%s", op, r.log)
		}
	}
}

// taken waits for an update that is taken.
func (r *running) taken() spiffe.Event {
	r.t.Helper()
	e := r.next(spiffe.OpUpdate)
	if e.Err != nil {
		r.t.Fatalf("the update is refused: %v", e.Err)
	}
	return e
}

func (r *running) logged(parts ...string) {
	r.t.Helper()
	for _, part := range parts {
		if !strings.Contains(r.log.String(), part) {
			r.t.Errorf("the log lacks %q:\n%s", part, r.log)
		}
	}
}

func (r *running) noKeys(a *spiffetest.Agent) {
	r.t.Helper()
	log := r.log.String()
	for _, svid := range a.Response().GetSvids() {
		key := svid.GetX509SvidKey()
		if len(key) == 0 {
			continue
		}
		if strings.Contains(log, string(key)) || strings.Contains(log, hex.EncodeToString(key)) ||
			strings.Contains(log, base64.StdEncoding.EncodeToString(key)) {
			r.t.Error("a private key is in the log")
		}
	}
}

// within waits until is holds, which must be soon.
func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for !is() {
		if time.Now().After(end) {
			t.Fatalf("waited too long: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A clock is the present, moved.
type clock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}
