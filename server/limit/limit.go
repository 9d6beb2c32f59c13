// Package limit bounds what a tenant and each of its identities may ask for, and
// how often an identity may fail. Requests that stay open as event streams have a
// bound of their own.
//
// A [Limiter] holds a bounded number of counts beside those of requests in progress,
// and starts no goroutine. A request takes from all of its counts or from none. What
// is crowded out is what has nothing to remember first; identities come from
// certificates that our CAs signed, so whoever wants to crowd out others needs as many
// of those. Counts of requests in progress are never crowded out and always find
// room: one tenant's cannot keep another's from being counted.
package limit

import (
	"hash/maphash"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A Rate is what may be asked for. Zero values are no such limit.
type Rate struct {
	PerSecond  float64
	Burst      int // at once; where 0, what a second allows, at least 1
	Concurrent int // in progress, event streams aside
	Streams    int // event streams that are open
}

// Limits are a tenant's as a whole, and those of each identity of it.
type Limits struct {
	Rate
	PerIdentity Rate
}

// Options of a Limiter.
type Options struct {
	Max          int           // counts that are held, those in progress aside; 65,536
	FailureBurst int           // failures of an identity before it has to wait; 10
	FailureEvery time.Duration // after which one is forgiven; 6 s
	Now          func() time.Time
}

// A Limiter counts. Safe for concurrent use.
type Limiter struct {
	opts   Options
	seed   maphash.Seed
	shards [shards]shard
}

const (
	shards = 32
	sample = 32 // counts that are looked at for one to crowd out
)

// full is how long somebody is told to wait if too much is in progress: nobody knows
// when that ends.
const full = time.Second

// A key names a count; the whole tenant's has no identity.
type key struct {
	tenant, identity string
	failures         bool // of the identity, not its requests
}

// A shard holds the counts of some tenants, each with all its identities, so
// that a request needs one lock.
type shard struct {
	mu     sync.Mutex
	counts map[key]*count
}

type count struct {
	bucket  *rate.Limiter // nil where the rate is not limited
	running int           // requests in progress, event streams aside
	streams int           // event streams that are open
}

// New makes a limiter.
func New(opts Options) *Limiter {
	if opts.Max <= 0 {
		opts.Max = 65536
	}
	if opts.FailureBurst <= 0 {
		opts.FailureBurst = 10
	}
	if opts.FailureEvery <= 0 {
		opts.FailureEvery = 6 * time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	l := &Limiter{opts: opts, seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].counts = make(map[key]*count)
	}
	return l
}

func (l *Limiter) shard(name string) *shard { return &l.shards[maphash.String(l.seed, name)%shards] }

// A Grant is what a request holds while it is in progress. The zero Grant holds
// nothing.
type Grant struct {
	shard            *shard
	tenant, identity *count
	stream           bool
}

// Release gives a grant back; once for each.
func (g *Grant) Release() {
	if g.shard == nil {
		return
	}
	g.shard.mu.Lock()
	defer g.shard.mu.Unlock()
	for _, c := range [...]*count{g.tenant, g.identity} {
		switch {
		case c == nil:
		case g.stream:
			c.streams--
		default:
			c.running--
		}
	}
}

// Listen makes the request an event stream: it no longer counts as in progress but as
// a stream. It reports false, and changes nothing, if there are too many streams.
func (g *Grant) Listen(limits *Limits) (ok bool) {
	if g.shard == nil || limits == nil {
		return true
	}
	g.shard.mu.Lock()
	defer g.shard.mu.Unlock()
	if g.stream {
		return true
	}
	if g.tenant.full(limits.Streams) || g.identity.full(limits.PerIdentity.Streams) {
		return false
	}
	for _, c := range [...]*count{g.tenant, g.identity} {
		if c != nil {
			c.running--
			c.streams++
		}
	}
	g.stream = true
	return true
}

// Acquire takes one request of an identity of a tenant. Where it is not ok,
// nothing was taken, and wait is when to try again. Limits may differ from those
// of the last call; what is in progress stays counted.
func (l *Limiter) Acquire(tenant, identity string, limits *Limits) (g Grant, wait time.Duration, ok bool) {
	if limits == nil || (limits.Rate == Rate{} && limits.PerIdentity == Rate{}) {
		return Grant{}, 0, true
	}
	now := l.opts.Now()
	s := l.shard(tenant)
	s.mu.Lock()
	defer s.mu.Unlock()
	g.shard = s
	if limits.Rate != (Rate{}) {
		g.tenant = l.count(s, key{tenant: tenant}, now)
		wait = g.tenant.wait(&limits.Rate, now)
	}
	if limits.PerIdentity != (Rate{}) {
		held := g.tenant
		if held != nil {
			held.running++ // not to be crowded out meanwhile
		}
		g.identity = l.count(s, key{tenant: tenant, identity: identity}, now)
		if held != nil {
			held.running--
		}
		wait = max(wait, g.identity.wait(&limits.PerIdentity, now))
	}
	if wait > 0 {
		return Grant{}, wait, false
	}
	for _, c := range [...]*count{g.tenant, g.identity} {
		if c != nil {
			c.take(now)
		}
	}
	return g, 0, true
}

// wait is how long until the count has room for one more; zero: now.
func (c *count) wait(r *Rate, now time.Time) time.Duration {
	c.set(r, now)
	if r.Concurrent > 0 && c.running >= r.Concurrent {
		return full
	}
	if c.bucket == nil {
		return 0
	}
	return missing(c.bucket, now)
}

// full reports whether as many streams are open as may be; 0: any number may.
func (c *count) full(most int) bool { return c != nil && most > 0 && c.streams >= most }

// set has the bucket be that of r.
func (c *count) set(r *Rate, now time.Time) {
	if r.PerSecond <= 0 {
		c.bucket = nil
		return
	}
	burst := r.Burst
	if burst <= 0 {
		burst = max(1, int(math.Ceil(r.PerSecond)))
	}
	switch {
	case c.bucket == nil:
		c.bucket = rate.NewLimiter(rate.Limit(r.PerSecond), burst)
	case c.bucket.Limit() != rate.Limit(r.PerSecond) || c.bucket.Burst() != burst:
		c.bucket.SetLimitAt(now, rate.Limit(r.PerSecond))
		c.bucket.SetBurstAt(now, burst)
	}
}

func (c *count) take(now time.Time) {
	c.running++
	if c.bucket != nil {
		c.bucket.AllowN(now, 1)
	}
}

// missing is how long until the bucket has one; zero: it has.
func missing(b *rate.Limiter, now time.Time) time.Duration {
	lack := 1 - b.TokensAt(now)
	if lack <= 0 {
		return 0
	}
	return max(time.Duration(lack/float64(b.Limit())*float64(time.Second)), time.Nanosecond)
}

// count returns the count of a key, a new one if there is none. Callers hold the
// shard's lock.
func (l *Limiter) count(s *shard, k key, now time.Time) *count {
	if c := s.counts[k]; c != nil {
		return c
	}
	for range 2 { // so that it shrinks again if more were in progress
		if len(s.counts) >= max(l.opts.Max/shards, 1) {
			s.crowdOut(now)
		}
	}
	c := &count{}
	s.counts[k] = c
	return c
}

// crowdOut takes one count away: of some, the one with the least to remember.
// Those in progress stay.
func (s *shard) crowdOut(now time.Time) {
	var least key
	most, seen := math.Inf(-1), 0
	for k, c := range s.counts {
		if c.running+c.streams > 0 {
			continue
		}
		if room := c.room(now); room > most {
			least, most = k, room
		}
		if seen++; seen == sample || most == 1 {
			break
		}
	}
	if seen > 0 {
		delete(s.counts, least)
	}
}

// room is the share of the bucket that is full; 1: nothing to remember.
func (c *count) room(now time.Time) float64 {
	if c.bucket == nil {
		return 1
	}
	return min(c.bucket.TokensAt(now)/float64(c.bucket.Burst()), 1)
}
