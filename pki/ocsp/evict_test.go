package ocsp

import (
	"crypto/x509"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Ten times as many certificates as there is room for take no more room, and
// what was used stays.
func TestMax(t *testing.T) {
	ca := newCA(t, "ours", nil)
	const most = 200
	now := time.Now()
	c, err := New(Options{Max: most, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	leaves := many(10 * most)
	used := c.Entry([]*x509.Certificate{leaves[0], ca.cert})
	for _, leaf := range leaves[1:] {
		now = now.Add(time.Second)
		c.Entry([]*x509.Certificate{leaf, ca.cert})
		if !used.held.Load() {
			t.Fatal("the entry in use went out")
		}
		used.Status(now)
		if c.Len() > most {
			t.Fatalf("%d entries", c.Len())
		}
	}
	if c.Entry([]*x509.Certificate{leaves[0], ca.cert}) != used {
		t.Error("the entry in use went out")
	}
	if len(c.waiting) > maxWaiting || len(c.ailing)+len(c.healthy) > most || c.order.Len() != c.Len() || len(c.issuers) != 1 {
		t.Errorf("waiting %d, in line %d and %d, in order %d", len(c.waiting), len(c.ailing), len(c.healthy), c.order.Len())
	}
	for _, e := range c.entries {
		c.drop(e)
	}
	if len(c.issuers)+len(c.ailing)+len(c.healthy)+c.order.Len() != 0 {
		t.Error("something is left of nothing")
	}
}

// An entry that went out answers for the connection that has it, and comes
// back; if there is another by then, both are one.
func TestEvictedEntryComesBack(t *testing.T) {
	ca := newCA(t, "ours", nil)
	r := &responder{ca: ca}
	var passed atomic.Int64
	base := time.Now()
	now := func() time.Time { return base.Add(time.Duration(passed.Load())) }
	var notified atomic.Int64
	c := start(t, Options{Max: 1, Transport: r, Now: now, Notify: func() { notified.Add(1) }})
	one, two := ca.leaf(t, "http://r/"), ca.leaf(t, "http://r/")
	first := c.Entry(chain(one, ca))
	if status, detail := await(t, first); status != Good {
		t.Fatalf("%v, %q", status, detail)
	}
	passed.Add(int64(time.Second))
	await(t, c.Entry(chain(two, ca)))
	if first.held.Load() {
		t.Fatal("it did not go out")
	}
	passed.Add(int64(time.Second))
	if status, detail := first.Status(now()); status != Good || !first.held.Load() {
		t.Errorf("%v, %q", status, detail)
	}
	c.mu.Lock()
	if first.first || first.line != &c.healthy {
		t.Error("asked about again, though its answer is good")
	}
	c.mu.Unlock()
	if c.Entry(chain(one, ca)) != first || c.Len() != 1 {
		t.Errorf("not itself; %d entries", c.Len())
	}

	passed.Add(int64(time.Second))
	await(t, c.Entry(chain(two, ca)))
	r.set(func(r *responder) {
		r.edit = func(a *ocsp.Response) {
			a.Status, a.RevokedAt = ocsp.Revoked, base
			a.ThisUpdate = a.ThisUpdate.Add(10 * time.Second)
		}
	})
	passed.Add(int64(time.Second))
	second := c.Entry(chain(one, ca))
	if second == first {
		t.Fatal("it did not go out again")
	}
	if status, _ := await(t, second); status != Revoked {
		t.Error(status)
	}
	for end := time.Now().Add(10 * time.Second); notified.Load() != 1 && time.Now().Before(end); {
		runtime.Gosched() // those who wait hear of it a little sooner
	}
	if n := notified.Load(); n != 1 {
		t.Errorf("notified %d times", n)
	}
	passed.Add(int64(time.Second))
	if status, _ := first.Status(now()); status != Revoked || first.moved.Load() != second {
		t.Errorf("the older entry is %v", status)
	}
	if status, _ := await(t, first); status != Revoked {
		t.Errorf("the older entry awaits %v", status)
	}
}

// What an older entry knows of a revocation, the newer one learns from it.
func TestRevocationOutlivesEviction(t *testing.T) {
	ca := newCA(t, "ours", nil)
	base := time.Now()
	now := base
	notified := 0
	c, err := New(Options{Max: 1, Now: func() time.Time { return now }, Notify: func() { notified++ }})
	if err != nil {
		t.Fatal(err)
	}
	leaves := many(2)
	old := c.Entry([]*x509.Certificate{leaves[0], ca.cert})
	if _, err := old.take(&answer{status: Revoked, thisUpdate: base, until: base.Add(time.Hour)}, now); err != nil {
		t.Fatal(err)
	}
	c.Entry([]*x509.Certificate{leaves[1], ca.cert})
	renewed := c.Entry([]*x509.Certificate{leaves[0], ca.cert})
	now = now.Add(time.Second)
	old.Status(now)
	if status, _ := renewed.Status(now); status != Revoked || notified != 1 {
		t.Errorf("%v, notified %d times", status, notified)
	}
}

// An entry that goes out while it waits for its first look, and comes back, is
// looked at once.
func TestBackWhileWaiting(t *testing.T) {
	ca := newCA(t, "ours", nil)
	c, err := New(Options{Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	leaves := many(2)
	one := c.Entry([]*x509.Certificate{leaves[0], ca.cert})
	c.Entry([]*x509.Certificate{leaves[1], ca.cert})
	now := time.Now()
	if c.revive(one, now) != one || !one.held.Load() || len(c.waiting) != 2 || len(c.ailing) != 0 {
		t.Errorf("%d wait, %d in line", len(c.waiting), len(c.ailing))
	}
	if e, _ := c.next(now); e != one || !e.busy {
		t.Error("it does not go first")
	}
	c.Entry([]*x509.Certificate{leaves[1], ca.cert})
	if c.revive(one, now); len(c.ailing)+len(c.healthy) != 0 || len(c.waiting) > 2 {
		t.Error("it is in line while it is looked at")
	}
}

// An entry that moved stays moved, whoever comes late, and tells those who wait.
func TestMovesMakeNoCircle(t *testing.T) {
	ca := newCA(t, "ours", nil)
	now := time.Now()
	c, err := New(Options{Max: 1, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	leaves := many(2)
	entry := func(i int) *Entry { return c.Entry([]*x509.Certificate{leaves[i], ca.cert}) }
	one := entry(0)
	_, done := c.wait(t.Context(), one)
	if _, again := c.wait(t.Context(), one); again != done {
		t.Error("two wait for two looks")
	}
	entry(1)
	two := entry(0)
	now = now.Add(time.Second)
	one.Status(now)
	select {
	case <-done:
	default:
		t.Error("who waited was not told of the move")
	}
	entry(1)
	if e := c.revive(one, now); e != two || one.held.Load() || !two.held.Load() {
		t.Error("the entry that moved was held again")
	}
	if two.follow() != two || one.follow() != two {
		t.Error("they answer for each other")
	}
}

// Entries that push each other out all get their answers, and the cache stays
// whole.
func TestCrowd(t *testing.T) {
	ca := newCA(t, "ours", nil)
	r := &responder{ca: ca}
	var seconds atomic.Int64
	base := time.Now()
	now := func() time.Time { return base.Add(time.Duration(seconds.Load()) * time.Second) }
	c := start(t, Options{Max: 4, Transport: r, Now: now})
	var leaves []*authority
	for range 12 {
		leaves = append(leaves, ca.leaf(t, "http://r/"))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var kept []*Entry
			for i := range 60 {
				e := c.Entry(chain(leaves[(g*5+i)%len(leaves)], ca))
				if kept = append(kept, e); i%10 == 0 {
					seconds.Add(1)
				}
				if status, detail := await(t, e); status != Good {
					t.Errorf("%v, %q", status, detail)
				}
				for _, e := range kept {
					if status, detail := e.Status(now()); status != Good {
						t.Errorf("%v, %q", status, detail)
					}
				}
				if n := c.Len(); n > 4 {
					t.Errorf("%d entries", n)
				}
			}
		})
	}
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := 0
	for _, e := range c.entries {
		if e.first || e.busy {
			waiting++
		}
	}
	if c.order.Len() != len(c.entries) || len(c.healthy)+len(c.ailing)+waiting != len(c.entries) || len(c.issuers) != 1 {
		t.Errorf("%d entries, %d in order, %d, %d and %d in lines", len(c.entries), c.order.Len(), len(c.healthy), len(c.ailing), waiting)
	}
}
