package admin

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// series finds counters by their labels without hashing each anew. It holds what
// the vectors hold: labels are the configuration's, and their number with them.
type series[K comparable, V any] struct {
	make func(K) V

	mu    sync.RWMutex
	known map[K]V
}

func (s *series[K, V]) of(key K) V {
	v, ok := s.find(key)
	if ok {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[K]V)
	}
	if v, ok = s.known[key]; !ok {
		v = s.make(key)
		s.known[key] = v
	}
	return v
}

// find returns one that there is already.
func (s *series[K, V]) find(key K) (v V, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok = s.known[key]
	return v, ok
}

func (s *series[K, V]) each(do func(K, V)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key, v := range s.known {
		do(key, v)
	}
}

// forget has all be found anew, for some are no longer the vectors'.
func (s *series[K, V]) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.known)
}

type decisionLabels struct{ stage, reason, tenant string }

type callLabels struct{ tool, tenant, result string }

type useLabels struct{ kind, name, tenant, result string }

type callSeries struct {
	calls prometheus.Counter
	took  *exemplified
}

// An exemplified observer keeps for about one observation a second which request it
// was of: enough to find one that was slow, and too few to cost anything.
type exemplified struct {
	prometheus.Observer
	second atomic.Int64 // of the last, since 1970
}

func (e *exemplified) observe(took time.Duration, request string) {
	now := time.Now().Unix()
	if last := e.second.Load(); now != last && e.second.CompareAndSwap(last, now) {
		e.Observer.(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), prometheus.Labels{"request_id": request})
		return
	}
	e.Observe(took.Seconds())
}
