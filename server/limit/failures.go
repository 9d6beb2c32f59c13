package limit

import (
	"hash/maphash"
	"time"

	"golang.org/x/time/rate"
)

// failureShard returns the shard of the failures of an identity. The identities of
// one tenant are spread, so that one tenant's failures do not crowd out another's.
func (l *Limiter) failureShard(tenant, identity string) *shard {
	return &l.shards[(maphash.String(l.seed, tenant)*31+maphash.String(l.seed, identity))%shards]
}

// Failed counts a failure of an identity of a tenant: a token that is wrong, or
// another's.
func (l *Limiter) Failed(tenant, identity string) {
	now := l.opts.Now()
	s := l.failureShard(tenant, identity)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := l.count(s, key{tenant, identity, true}, now)
	if c.bucket == nil {
		c.bucket = rate.NewLimiter(rate.Every(l.opts.FailureEvery), l.opts.FailureBurst)
	}
	c.bucket.AllowN(now, 1)
}

// Locked returns how long an identity of a tenant has to wait until it may try again; zero:
// it may now. That it succeeds forgives nothing: who has one good key could try
// others for ever.
func (l *Limiter) Locked(tenant, identity string) time.Duration {
	s := l.failureShard(tenant, identity)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[key{tenant, identity, true}]
	if c == nil {
		return 0
	}
	return missing(c.bucket, l.opts.Now())
}
