package stepca

import (
	"math/rand/v2"
	"time"
)

const (
	renewAt    = 2.0 / 3          // of what is left of a certificate when it is obtained
	spread     = 0.05             // of the same: how much earlier, at random
	firstRetry = time.Second      // doubled with every failure
	maxRetry   = 10 * time.Minute // bound while the certificate is good
	lateRetry  = time.Minute      // bound after its end

	// However short its certificates are, an authority is asked for so many at once, and
	// then for one in that time.
	burst = 20
	pace  = 10 * time.Second
)

// due returns when a certificate is to be renewed. obtained is when it came, or
// zero when it was found on disk: step-ca dates certificates back by a minute,
// which for short ones would put two thirds of the dates into the past.
func due(notBefore, notAfter, obtained time.Time, at, jitter float64) time.Time {
	start := notBefore
	if obtained.After(start) {
		start = obtained
	}
	share := at - spread*jitter
	when := start.Add(time.Duration(float64(notAfter.Sub(start)) * share))
	// Whatever an authority's dates are, they do not make us hammer it.
	if soonest := obtained.Add(firstRetry); when.Before(soonest) {
		return soonest
	}
	return when
}

// paced returns the earliest time of a renewal after those that were, the latest last.
func paced(recent []time.Time) time.Time {
	if len(recent) < burst {
		return time.Time{}
	}
	return recent[len(recent)-burst].Add(burst * pace)
}

// backoff returns how long to wait after so many failures in a row: doubling,
// at random between half and all of it, and never more than a tenth of what is
// left, so that tries come faster as the end nears.
func backoff(failures int, left time.Duration, jitter float64) time.Duration {
	limit := lateRetry
	if left > 0 {
		limit = min(maxRetry, max(left/10, firstRetry))
	}
	d := min(firstRetry<<min(failures-1, 20), limit)
	return d/2 + time.Duration(jitter*float64(d/2))
}

// jitter returns a number in [0, 1), so that a fleet started at once does not
// come to the authority at once.
func jitter() float64 { return rand.Float64() } //nolint:gosec // spreads load, guards nothing
