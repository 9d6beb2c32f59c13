package jwt

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"
)

// However many tokens come, a bounded number is held, and those that have ended
// go first.
func TestCacheIsBounded(t *testing.T) {
	var c cache
	now := time.Now()
	live, ended := &Token{NotAfter: now.Add(time.Hour)}, &Token{NotAfter: now.Add(-time.Second)}
	sum := func(n int) [sha256.Size]byte { return sha256.Sum256(binary.AppendVarint(nil, int64(n))) }
	held := func() (n int) {
		for i := range c {
			n += len(c[i].tokens)
		}
		return n
	}
	const some = 1000
	for n := range some {
		c.put(sum(n), live, now)
	}
	for n := some; n < 5*shards*perShard; n++ {
		c.put(sum(n), ended, now)
	}
	if n := held(); n > shards*perShard {
		t.Errorf("%d tokens are held, at most %d should be", n, shards*perShard)
	}
	for n := range some {
		if c.get(sum(n)) != live {
			t.Fatal("a token went before those that have ended")
		}
	}
	for n := range 5 * shards * perShard {
		c.put(sum(-n-1), live, now)
	}
	if n := held(); n > shards*perShard {
		t.Errorf("%d tokens are held, at most %d should be", n, shards*perShard)
	}
}
