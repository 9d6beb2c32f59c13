package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Alive is a gate whose sweep comes round, and not one whose sweep has stopped.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{live: newLive()}
		s.built.Store(true)
		ctx, stop := context.WithCancel(t.Context())
		go s.live.sweep(ctx, nil, nil, time.Minute) // nothing is in progress, so nobody is asked
		time.Sleep(time.Hour)
		if err := s.Alive(); err != nil {
			t.Errorf("it sweeps: %v", err)
		}
		stop()
		time.Sleep(stuck - time.Second)
		if err := s.Alive(); err != nil {
			t.Errorf("late, and not yet stuck: %v", err)
		}
		time.Sleep(2 * time.Second)
		if s.Alive() == nil {
			t.Error("alive, and nobody looks at what is in progress")
		}
	})
}
