package unread_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/server/unread"
)

// An answer notes that it is cut.
type answer struct {
	waited time.Duration
	mu     sync.Mutex
	why    []unread.Reason
}

func (a *answer) Waited(time.Time) time.Duration { return a.waited }
func (a *answer) Cut(why unread.Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.why = append(a.why, why)
}

func (a *answer) cut() []unread.Reason {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.why)
}

// An identity over its bound loses its own answer that has waited longest, and nobody
// else loses any.
//
// Holds: client/unread-answers-bound
func TestIdentityLosesItsOwn(t *testing.T) {
	b := unread.New(unread.Bounds{Total: 1000, Tenant: 500, Identity: 100})
	other := &answer{waited: time.Hour}
	b.Hold("acme", "other", 100, other)
	steady, stuck, next := &answer{waited: time.Second}, &answer{waited: time.Minute}, &answer{}
	b.Hold("acme", "a", 50, steady)
	b.Hold("acme", "a", 50, stuck)
	h := b.Hold("acme", "a", 40, next)
	if got := stuck.cut(); len(got) != 1 || got[0] != unread.IdentityBytes {
		t.Errorf("the one that waited longest: %v, want identity_bytes", got)
	}
	if len(steady.cut())+len(other.cut())+len(next.cut()) != 0 {
		t.Error("another answer was cut")
	}
	if got := b.Held(); got != 190 {
		t.Errorf("%d bytes held, want 190", got)
	}
	h.Release()
	h.Release()
	if got := b.Held(); got != 150 {
		t.Errorf("%d bytes held after a release, want 150", got)
	}
}

// A tenant over its bound loses an answer of its identity that holds most.
func TestTenantLosesOfItsLargest(t *testing.T) {
	b := unread.New(unread.Bounds{Total: 1000, Tenant: 200, Identity: 150})
	globex, small, large, next := &answer{waited: time.Hour}, &answer{waited: time.Hour}, &answer{}, &answer{}
	b.Hold("globex", "x", 150, globex)
	b.Hold("acme", "small", 50, small)
	b.Hold("acme", "large", 120, large)
	b.Hold("acme", "next", 60, next)
	if got := large.cut(); len(got) != 1 || got[0] != unread.TenantBytes {
		t.Errorf("of the largest: %v, want tenant_bytes", got)
	}
	if len(globex.cut())+len(small.cut())+len(next.cut()) != 0 {
		t.Error("another answer was cut")
	}
}

// If all is used, the tenant that holds most loses an answer, and never the smaller one
// to the larger.
func TestTotalIsTakenFromTheLargestTenant(t *testing.T) {
	b := unread.New(unread.Bounds{Total: 300, Tenant: 250, Identity: 100})
	large := make([]*answer, 2)
	for n := range large {
		large[n] = &answer{waited: time.Duration(n) * time.Second}
		b.Hold("large", fmt.Sprint(n), 100, large[n])
	}
	small, next := &answer{waited: time.Hour}, &answer{}
	b.Hold("small", "s", 100, small)
	b.Hold("late", "l", 50, next)
	if len(large[0].cut())+len(large[1].cut()) != 1 || len(small.cut())+len(next.cut()) != 0 {
		t.Errorf("of the largest %v and %v, of smaller ones %v and %v, want one of the largest", large[0].cut(), large[1].cut(), small.cut(), next.cut())
	}
	again := &answer{}
	b.Hold("large", "3", 100, again)
	if len(small.cut())+len(next.cut())+len(again.cut()) != 0 || len(large[0].cut())+len(large[1].cut()) != 2 {
		t.Error("the tenant that holds most took from another")
	}
}

// One answer that alone is larger than the bounds is not cut, and every other one of
// its identity is.
func TestAnswerOverTheBound(t *testing.T) {
	b := unread.New(unread.Bounds{Total: 100, Tenant: 100, Identity: 100})
	before, huge, after := &answer{}, &answer{}, &answer{}
	b.Hold("acme", "a", 10, before)
	b.Hold("acme", "a", 150, huge)
	if len(before.cut()) != 1 || len(huge.cut()) != 0 || b.Held() != 150 {
		t.Errorf("before it: %v, itself: %v, %d held", before.cut(), huge.cut(), b.Held())
	}
	b.Hold("acme", "a", 10, after)
	if len(huge.cut()) != 1 || b.Held() != 10 {
		t.Errorf("the next one leaves %d held", b.Held())
	}
	b.SetBounds(unread.Bounds{Total: 5, Tenant: 5, Identity: 5})
	b.Hold("acme", "a", 1, &answer{})
	if len(after.cut()) != 1 || b.Held() != 1 {
		t.Errorf("with smaller bounds %d are held, want 1", b.Held())
	}
}

// Whatever the order, the bounds hold and nothing is left over.
//
// Holds: client/unread-answers-bound
func TestInterleaved(t *testing.T) {
	b := unread.New(unread.Bounds{Total: 3000, Tenant: 2000, Identity: 1000})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var held []*unread.Hold
			for range 3000 {
				held = append(held, b.Hold(fmt.Sprint(rand.IntN(3)), fmt.Sprint(rand.IntN(3)), int64(1+rand.IntN(100)), &answer{}))
				if got := b.Held(); got > 3000 {
					t.Errorf("%d bytes held, want at most 3000", got)
				}
				if len(held) > 20 {
					held[0].Release()
					held = held[1:]
				}
			}
			for _, h := range held {
				h.Release()
			}
		})
	}
	wg.Wait()
	if got := b.Held(); got != 0 {
		t.Errorf("%d bytes held in the end", got)
	}
}
