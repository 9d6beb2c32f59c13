package upstream

import (
	"context"
	"log/slog"

	"github.com/sangate/sangate/pki/contain"
)

// A reporter passes on the progress of one call.
type reporter func(done, total float64, message string)

// maxReports is how many reports of one call wait for its client; the oldest is dropped first.
const maxReports = 16

// relay returns a reporter that does not wait for to. The SDK handles the notifications of all calls in turn, so a
// client that does not read must hold up those of its own call only. end returns when to has all reports, or ctx ends.
func relay(ctx context.Context, log *slog.Logger, to reporter) (report reporter, end func()) {
	type sent struct {
		done, total float64
		message     string
	}
	waiting, closing, closed := make(chan sent, maxReports), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(closed)
		defer contain.Panic(log, "pass on progress of an upstream")
		for ctx.Err() == nil {
			select {
			case r := <-waiting:
				to(r.done, r.total, r.message)
				continue
			default:
			}
			select {
			case r := <-waiting:
				to(r.done, r.total, r.message)
			case <-closing: // all reports were sent before
				if len(waiting) == 0 {
					return
				}
			case <-ctx.Done():
			}
		}
	}()
	report = func(done, total float64, message string) {
		for {
			select {
			case waiting <- sent{done, total, message}:
				return
			default:
			}
			select {
			case <-waiting: // the oldest
			default:
			}
		}
	}
	return report, func() {
		close(closing)
		select {
		case <-closed:
		case <-ctx.Done():
		}
	}
}
