package material

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// TestJobRunsAgainAfterPanic holds that a panic in what keeps certificates fresh
// neither ends the process nor the job.
//
// Holds: authority/panic-contained
func TestJobRunsAgainAfterPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j job
		runs := 0
		j.become(t.Context(), slog.New(slog.DiscardHandler), t, func(ctx context.Context) error {
			if runs++; runs == 1 {
				panic("broken")
			}
			<-ctx.Done()
			return nil
		}, func(err error) { t.Errorf("failed: %v", err) })
		time.Sleep(time.Minute)
		synctest.Wait()
		if runs != 2 {
			t.Errorf("ran %d times, want 2", runs)
		}
		j.end()
	})
}
