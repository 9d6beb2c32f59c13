package lifetime_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sangate/sangate/server/lifetime"
)

type key struct{}

// Who asks only after it was released finds that it has ended, as who had waited does.
func TestReleased(t *testing.T) {
	for name, deadline := range map[string]time.Time{"without a deadline": {}, "with a deadline": time.Now().Add(time.Hour)} {
		for name2, waits := range map[string]func(*lifetime.Context){"nobody": func(*lifetime.Context) {}, "somebody": func(c *lifetime.Context) { c.Done() }} {
			t.Run(name+", "+name2+" waits", func(t *testing.T) {
				var c lifetime.Context
				c.Begin(context.WithValue(t.Context(), key{}, 1), deadline)
				if waits(&c); c.Err() != nil {
					t.Fatal(c.Err())
				}
				c.Release()
				if err := c.Err(); err != context.Canceled {
					t.Errorf("ended with %v", err)
				}
				select {
				case <-c.Done():
				default:
					t.Error("not done")
				}
				if cause := context.Cause(&c); cause != context.Canceled {
					t.Errorf("ended for %v", cause)
				}
				c.End(errors.New("late"))
				if cause := context.Cause(&c); cause != context.Canceled {
					t.Errorf("ended for %v", cause)
				}
				child, cancel := context.WithCancel(&c)
				if child.Err() != context.Canceled {
					t.Error("what comes of it goes on")
				}
				cancel()
				if c.Value(key{}) != 1 {
					t.Error("it has no values")
				}
			})
		}
	}
}

// Nobody pays for an end that nobody waits for.
func TestReleaseAllocatesNothing(t *testing.T) {
	ctx := t.Context()
	c := make([]lifetime.Context, 102)
	if n := testing.AllocsPerRun(100, func() {
		c[0].Begin(ctx, time.Time{})
		_ = c[0].Err()
		c[0].Release()
		c = c[1:]
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
