package turns_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/turns"
)

// Tenants come in turn, and so do the identities of each, however many requests of one
// came before. Requests of one identity come in their order.
//
// Holds: client/cpu-turns
func TestTenantsComeInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := turns.New(1)
		take(t, one)
		var order []string
		var wg sync.WaitGroup
		wait := func(tenant, identity string, n int) {
			for i := range n {
				wg.Go(func() {
					if err := one.Take(t.Context(), tenant, identity); err != nil {
						t.Error(err)
					}
					order = append(order, fmt.Sprint(tenant, identity, i))
					one.Give()
				})
				synctest.Wait()
			}
		}
		wait("A", "x", 100)
		wait("A", "y", 2)
		wait("G", "x", 3)
		if got := one.Waiting(); got != 105 {
			t.Errorf("%d wait, want 105", got)
		}
		one.Give()
		wg.Wait()
		if got, want := strings.Join(order[:9], " "), "Ax0 Gx0 Ay0 Gx1 Ax1 Gx2 Ay1 Ax2 Ax3"; got != want {
			t.Errorf("they came as %s, want %s", got, want)
		}
		if len(order) != 105 || one.Waiting() != 0 {
			t.Errorf("%d came, and %d wait still", len(order), one.Waiting())
		}
		take(t, one)
	})
}

// Who no longer waits gets no turn, and none is lost.
func TestGoneWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, gone := turns.New(1), errors.New("gone")
		take(t, one)
		ctx, leave := context.WithCancelCause(t.Context())
		var left, stayed error
		var wg sync.WaitGroup
		wg.Go(func() { left = one.Take(ctx, "A", "x") })
		synctest.Wait()
		wg.Go(func() { stayed = one.Take(t.Context(), "A", "x") })
		synctest.Wait()
		leave(gone)
		synctest.Wait()
		one.Give()
		wg.Wait()
		if left != gone || stayed != nil {
			t.Errorf("%v and %v, want %v and none", left, stayed, gone)
		}
		one.Give()
		take(t, one)
	})
}

// As many have a turn at a time as there are turns.
func TestAtMostSoMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		three := turns.New(3)
		now, seen := 0, []int{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for n := range 30 {
			wg.Go(func() {
				_ = three.Take(t.Context(), fmt.Sprint(n%4), fmt.Sprint(n%3))
				mu.Lock()
				now++
				seen = append(seen, now)
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				now--
				mu.Unlock()
				three.Give()
			})
		}
		wg.Wait()
		if most := slices.Max(seen); most != 3 || len(seen) != 30 {
			t.Errorf("%d of %d at once, want 3 of 30", most, len(seen))
		}
	})
}

// A request that keeps its turn too long goes on beside the next, and gives back one turn
// only, however often it leaves.
//
// Holds: client/cpu-turns
func TestTurnIsOverInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := turns.New(1)
		var stuck, next turns.Turn
		for range 2 { // once more does nothing
			if err := stuck.Enter(t.Context(), one, "A", "x"); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		if err := next.Enter(t.Context(), one, "G", "x"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took == 0 || took > 100*time.Millisecond {
			t.Errorf("the next had its turn after %v", took)
		}
		stuck.Leave()
		stuck.Leave()
		next.Leave()
		time.Sleep(time.Second)
		take(t, one)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if one.Take(ended, "A", "x") == nil {
			t.Error("there are two turns now")
		}
	})
}

// take takes the turn that is free.
func take(t *testing.T, of *turns.Turns) {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if of.Take(ended, "T", "t") != nil {
		t.Fatal("no turn is free")
	}
}
