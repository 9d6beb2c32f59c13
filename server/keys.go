package server

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/config"
)

// useEvery is how often the last uses of keys are noted in the state store.
const useEvery = time.Minute

// reloadKeys puts the keys of the state store in force, where they are others
// than before.
func (s *Server) reloadKeys(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ring, stored, err := s.readKeys(ctx, s.config.Load())
	if s.failed.keys.news(err) {
		s.log.Error("keys not reloaded, those in force stay", "err", err)
	}
	if err != nil || slices.Equal(stored, s.stored) {
		return err
	}
	s.stored = stored
	s.swap(func(next *auth.Snapshot) { next.Keys = ring })
	s.log.Info("keys reloaded", "generation", s.gate.Snapshot().Generation, "keys", ring.Len())
	return nil
}

// readKeys joins the keys of the configuration with those of the store, which
// are returned by themselves, too. Callers hold mu, or are New.
func (s *Server) readKeys(ctx context.Context, c *config.Config) (ring *apikey.Ring, stored []apikey.Entry, err error) {
	records, err := s.store.Keys(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("reading keys from the state store: %w", err)
	}
	stored = make([]apikey.Entry, len(records))
	for i, r := range records {
		stored[i] = r.Entry
	}
	ring, err = apikey.NewRing(slices.Concat(c.Keys, stored))
	return ring, stored, err
}

// configuredKeys returns the keys that stand in the configuration in force.
func (s *Server) configuredKeys() []apikey.Entry {
	return s.config.Load().Keys
}

// keyUse holds when keys were used since it was last taken. Safe for concurrent
// use; it grows to the keys there are.
type keyUse struct{ at sync.Map } // id → *atomic.Int64, Unix seconds; 0: taken

func (u *keyUse) note(id string, now time.Time) {
	at, ok := u.at.Load(id)
	if !ok {
		at, _ = u.at.LoadOrStore(id, new(atomic.Int64))
	}
	at.(*atomic.Int64).Store(now.Unix())
}

func (u *keyUse) take() map[string]time.Time {
	used := make(map[string]time.Time)
	for id, at := range u.at.Range {
		if second := at.(*atomic.Int64).Swap(0); second != 0 {
			used[id.(string)] = time.Unix(second, 0)
		}
	}
	return used
}

// noteUse writes the last uses of the store's keys down, each minute and at the
// end.
func (s *Server) noteUse(ctx context.Context) {
	tick := time.NewTicker(useEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		s.flushUse()
	}
}

func (s *Server) flushUse() {
	s.mu.Lock()
	stored := s.stored
	s.mu.Unlock()
	used := s.used.take()
	for id := range used {
		if !slices.ContainsFunc(stored, func(e apikey.Entry) bool { return e.ID == id }) {
			delete(used, id) // stands in the configuration
		}
	}
	if len(used) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.store.NoteUse(ctx, used); err != nil {
		s.log.Warn("when keys were used last is not noted", "keys", len(used), "err", err)
	}
}
