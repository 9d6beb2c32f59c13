package upstream

import (
	"fmt"
	"time"
)

// restarts paces the starts of a command that ends soon after it was started, which may have answered all the same.
type restarts struct {
	soon  int       // times in a row that it ended soon
	ended time.Time // for the last time
}

// longEnough is how long a command runs that ends for no reason of its start.
const longEnough = maxBackoff

// note takes in that a command ended after it ran for so long.
func (r *restarts) note(ran time.Duration, now time.Time) {
	if r.soon++; ran >= longEnough {
		r.soon = 0
	}
	r.ended = now
}

// due returns an error if it is too early to start it again. The first time it is started at once.
func (r *restarts) due(now time.Time) error {
	if r.soon < 2 {
		return nil
	}
	pause := min(minBackoff<<min(r.soon-2, 10), maxBackoff)
	if left := pause - now.Sub(r.ended); left > 0 {
		return fmt.Errorf("the command has ended %d times within %s of its start; it is started again in %s",
			r.soon, longEnough, max(left.Round(time.Second), time.Second))
	}
	return nil
}
