package limit

import (
	"time"

	"golang.org/x/time/rate"
)

// Failed counts a failure of an identity: a token that is wrong, or another's.
func (l *Limiter) Failed(identity string) {
	now := l.opts.Now()
	s := l.shard(identity)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := l.count(s, key{"", identity}, now)
	if c == nil {
		return // there is no room: so many are in progress that limits refuse the next ones
	}
	if c.bucket == nil {
		c.bucket = rate.NewLimiter(rate.Every(l.opts.FailureEvery), l.opts.FailureBurst)
	}
	c.bucket.AllowN(now, 1)
}

// Locked returns how long an identity has to wait until it may try again; zero:
// it may now. That it succeeds forgives nothing: who has one good key could try
// others for ever.
func (l *Limiter) Locked(identity string) time.Duration {
	s := l.shard(identity)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[key{"", identity}]
	if c == nil {
		return 0
	}
	return missing(c.bucket, l.opts.Now())
}
