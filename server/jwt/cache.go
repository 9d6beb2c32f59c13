package jwt

import (
	"crypto/sha256"
	"sync"
	"time"
)

// The cache holds at most shards × perShard tokens.
const (
	shards   = 64
	perShard = 256
)

// A cache holds tokens that were verified, by their SHA-256. The zero value is
// empty. Safe for concurrent use.
type cache [shards]shard

type shard struct {
	mu     sync.RWMutex
	tokens map[[sha256.Size]byte]*Token
}

func (c *cache) get(sum [sha256.Size]byte) *Token {
	s := &c[sum[0]%shards]
	s.mu.RLock()
	t := s.tokens[sum]
	s.mu.RUnlock()
	return t
}

// put takes a token in. Where there is no room, those that have expired go, and
// else any one: whoever is missing is verified anew.
func (c *cache) put(sum [sha256.Size]byte, t *Token, now time.Time) {
	s := &c[sum[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		s.tokens = make(map[[sha256.Size]byte]*Token)
	}
	if len(s.tokens) >= perShard {
		s.evict(now)
	}
	s.tokens[sum] = t
}

func (s *shard) evict(now time.Time) {
	for sum, t := range s.tokens {
		if now.After(t.NotAfter) {
			delete(s.tokens, sum)
		}
	}
	for sum := range s.tokens {
		if len(s.tokens) < perShard {
			return
		}
		delete(s.tokens, sum)
	}
}
