package limit_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/server/limit"
)

// A clock stands still unless it is set on.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Now().UnixNano())
	return c
}
func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// ask acquires n times without releasing, and returns how often it could.
func ask(l *limit.Limiter, tenant, identity string, limits *limit.Limits, n int) (got int) {
	for range n {
		if _, wait, ok := l.Acquire(tenant, identity, limits); ok {
			got++
		} else if wait <= 0 {
			panic("refused without a time to try again")
		}
	}
	return got
}

func TestRate(t *testing.T) {
	c := newClock()
	l := limit.New(limit.Options{Now: c.now})
	limits := &limit.Limits{Rate: limit.Rate{PerSecond: 10, Burst: 20}}
	if got := ask(l, "acme", "a", limits, 30); got != 20 {
		t.Errorf("%d at once, want the burst of 20", got)
	}
	if got := ask(l, "globex", "a", limits, 30); got != 20 {
		t.Errorf("%d of another tenant, want 20", got)
	}
	_, wait, _ := l.Acquire("acme", "b", limits)
	if wait <= 90*time.Millisecond || wait > 100*time.Millisecond {
		t.Errorf("wait %s, want 100ms", wait)
	}
	c.advance(wait)
	if got := ask(l, "acme", "b", limits, 5); got != 1 {
		t.Errorf("%d after the wait, want 1", got)
	}
	// Limits that change count on with what was used.
	if got := ask(l, "acme", "a", &limit.Limits{Rate: limit.Rate{PerSecond: 100, Burst: 5}}, 5); got != 0 {
		t.Errorf("%d after the limits changed, want none: nothing was saved up", got)
	}
	c.advance(time.Second)
	if got := ask(l, "acme", "a", &limit.Limits{Rate: limit.Rate{PerSecond: 100, Burst: 5}}, 10); got != 5 {
		t.Errorf("%d a second later, want the new burst of 5", got)
	}
	if got := ask(l, "acme", "a", nil, 100) + ask(l, "acme", "a", &limit.Limits{}, 100); got != 200 {
		t.Errorf("%d without limits", got)
	}
	if got := ask(l, "x", "a", &limit.Limits{Rate: limit.Rate{PerSecond: 0.1}}, 5); got != 1 {
		t.Errorf("%d with a tenth of one per second, want 1", got)
	}
}

// One identity cannot use up what its tenant has, and a refused request costs
// nobody anything.
func TestPerIdentity(t *testing.T) {
	l := limit.New(limit.Options{Now: newClock().now})
	limits := &limit.Limits{Rate: limit.Rate{PerSecond: 1, Burst: 10}, PerIdentity: limit.Rate{PerSecond: 1, Burst: 3}}
	if got := ask(l, "acme", "greedy", limits, 100); got != 3 {
		t.Errorf("greedy got %d, want 3", got)
	}
	if got := ask(l, "acme", "other", limits, 100); got != 3 {
		t.Errorf("other got %d, want 3", got)
	}
	for n := range 10 {
		ask(l, "acme", fmt.Sprint(n), limits, 1)
	}
	if got := ask(l, "acme", "late", limits, 1); got != 0 {
		t.Errorf("the tenant got more than its 10")
	}
}

func TestConcurrent(t *testing.T) {
	l := limit.New(limit.Options{Now: newClock().now})
	limits := &limit.Limits{Rate: limit.Rate{Concurrent: 5}, PerIdentity: limit.Rate{Concurrent: 2}}
	var held []limit.Grant
	for range 3 {
		if g, _, ok := l.Acquire("acme", "a", limits); ok {
			held = append(held, g)
		}
	}
	if len(held) != 2 {
		t.Fatalf("%d at once, want 2", len(held))
	}
	if got := ask(l, "acme", "b", limits, 5) + ask(l, "acme", "c", limits, 5); got != 3 {
		t.Errorf("%d of others, want 3 of 5", got)
	}
	held[0].Release()
	if got := ask(l, "acme", "a", limits, 2); got != 1 {
		t.Errorf("%d after one ended, want 1", got)
	}
	(&limit.Grant{}).Release()
}

// A request that becomes an event stream gives back what it held as a request, and
// counts among the streams until it is released.
func TestStreams(t *testing.T) {
	l := limit.New(limit.Options{Now: newClock().now})
	limits := &limit.Limits{Rate: limit.Rate{Concurrent: 1, Streams: 5}, PerIdentity: limit.Rate{Streams: 3}}
	var held []*limit.Grant
	listen := func(identity string) (ok bool) {
		t.Helper()
		g, _, granted := l.Acquire("acme", identity, limits)
		if !granted {
			t.Fatal("the place of a request is taken by a stream")
		}
		if ok = g.Listen(limits); ok {
			held = append(held, &g)
		} else {
			g.Release()
		}
		return ok
	}
	for range 3 {
		if !listen("a") {
			t.Fatalf("stream %d refused, want 3", len(held))
		}
	}
	if listen("a") || !listen("b") || !listen("b") || listen("b") || listen("c") {
		t.Error("want 3 streams of an identity and 5 of the tenant")
	}
	if !held[0].Listen(limits) {
		t.Error("a stream is asked to become one and refused")
	}
	held[0].Release()
	if !listen("c") {
		t.Error("refused after one has ended")
	}
	for _, g := range held[1:] {
		g.Release()
	}
	if got := ask(l, "acme", "a", limits, 3); got != 1 {
		t.Errorf("%d requests in progress after all have ended, want 1", got)
	}
	if none := (&limit.Grant{}); !none.Listen(limits) {
		t.Error("refused without a limit")
	}
}

func TestFailures(t *testing.T) {
	c := newClock()
	l := limit.New(limit.Options{Now: c.now})
	if l.Locked("acme", "a") != 0 {
		t.Fatal("locked from the start")
	}
	for range 10 {
		if l.Locked("acme", "a") != 0 {
			t.Fatal("locked before ten failures")
		}
		l.Failed("acme", "a")
	}
	wait := l.Locked("acme", "a")
	if wait <= 5*time.Second || wait > 6*time.Second || l.Locked("acme", "b") != 0 || l.Locked("globex", "a") != 0 {
		t.Fatalf("a waits %s, b %s, a of another tenant %s", wait, l.Locked("acme", "b"), l.Locked("globex", "a"))
	}
	for range 100 {
		l.Failed("acme", "a") // those that were in progress
	}
	c.advance(wait)
	if l.Locked("acme", "a") != 0 {
		t.Error("locked after its time")
	}
	l.Failed("acme", "a")
	if l.Locked("acme", "a") == 0 {
		t.Error("one failure was forgiven, and a second one with it")
	}
	c.advance(time.Minute)
	if l.Locked("acme", "a") != 0 {
		t.Error("never forgiven")
	}
}

// However many come, a bounded number is held; those in progress stay counted,
// and who has failed is not forgotten for those that have not.
func TestBounded(t *testing.T) {
	c := newClock()
	l := limit.New(limit.Options{Max: 3200, Now: c.now})
	limits := &limit.Limits{PerIdentity: limit.Rate{PerSecond: 100, Burst: 100, Concurrent: 1}}
	g, _, _ := l.Acquire("acme", "busy", limits)
	for range 20 {
		l.Failed("acme", "failing")
	}
	for n := range 100_000 {
		id := fmt.Sprint(n)
		if held, _, ok := l.Acquire(id[len(id)-1:], id, limits); ok {
			held.Release()
		}
		if n%10_000 == 0 {
			c.advance(100 * time.Millisecond)
		}
	}
	if held := l.Held(); held > 3200 {
		t.Errorf("%d counts are held, at most 3200 should be", held)
	}
	if _, _, ok := l.Acquire("acme", "busy", limits); ok {
		t.Error("what was in progress is no longer counted")
	}
	if l.Locked("acme", "failing") == 0 {
		t.Error("who failed was forgotten")
	}
	g.Release()
}

// What is in progress of one tenant leaves room to count others, and is not let
// through uncounted itself.
//
// Holds: tenant/limits-of-others
func TestInProgressLeavesRoom(t *testing.T) {
	c := newClock()
	l := limit.New(limit.Options{Max: 32, Now: c.now}) // one for each shard
	limits := &limit.Limits{Rate: limit.Rate{Concurrent: 1000}, PerIdentity: limit.Rate{Concurrent: 1}}
	for n := range 500 {
		if got := ask(l, "acme", fmt.Sprint(n), limits, 3); got != 1 {
			t.Fatalf("%d of identity %d, want 1", got, n)
		}
	}
	for n := range 200 {
		if got := ask(l, fmt.Sprint("tenant", n), "a", limits, 3); got != 1 {
			t.Fatalf("%d of tenant %d, want 1", got, n)
		}
	}
}

// Counts that were made while others were in progress are given up again.
func TestCountsShrink(t *testing.T) {
	l := limit.New(limit.Options{Max: 32, Now: newClock().now})
	limits := &limit.Limits{PerIdentity: limit.Rate{Concurrent: 1}}
	var held []*limit.Grant
	for n := range 500 {
		g, _, _ := l.Acquire("acme", fmt.Sprint(n), limits)
		held = append(held, &g)
	}
	for _, g := range held {
		g.Release()
	}
	for n := range 600 {
		g, _, _ := l.Acquire("acme", fmt.Sprint("later", n), limits)
		g.Release()
	}
	if n := l.Held(); n > 32 {
		t.Errorf("%d counts are held, want at most 32", n)
	}
}

// Whatever the order, no more than allowed is in progress, and nothing is left
// over.
func TestInterleaved(t *testing.T) {
	l := limit.New(limit.Options{})
	limits := &limit.Limits{Rate: limit.Rate{Concurrent: 7}, PerIdentity: limit.Rate{Concurrent: 3}}
	var running atomic.Int32
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for range 2000 {
				g, _, ok := l.Acquire("acme", fmt.Sprint(rand.IntN(4)), limits)
				if !ok {
					continue
				}
				if n := running.Add(1); n > 7 {
					t.Errorf("%d in progress", n)
				}
				if w%2 == 0 {
					l.Failed("acme", "x")
					l.Locked("acme", "x")
				}
				running.Add(-1)
				g.Release()
			}
		})
	}
	wg.Wait()
	if got := ask(l, "acme", "a", limits, 9) + ask(l, "acme", "b", limits, 9) + ask(l, "acme", "c", limits, 9); got != 7 {
		t.Errorf("%d are free in the end, want 7", got)
	}
}

func TestAllocations(t *testing.T) {
	l := limit.New(limit.Options{})
	limits := &limit.Limits{Rate: limit.Rate{PerSecond: 1e9, Concurrent: 5}, PerIdentity: limit.Rate{PerSecond: 1e9}}
	l.Failed("acme", "a")
	if n := testing.AllocsPerRun(100, func() {
		g, _, _ := l.Acquire("acme", "a", limits)
		g.Release()
		l.Locked("acme", "a")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAcquire(b *testing.B) {
	l := limit.New(limit.Options{})
	limits := &limit.Limits{Rate: limit.Rate{PerSecond: 1e9, Concurrent: 50}, PerIdentity: limit.Rate{PerSecond: 1e9}}
	b.ReportAllocs()
	for b.Loop() {
		g, _, _ := l.Acquire("acme", "a", limits)
		g.Release()
	}
}
