package intake_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/sangate/sangate/server/intake"
)

type taker struct{ taken atomic.Int64 }

func (t *taker) TakeAnswer(more int64) error { t.taken.Add(more); return nil }

// TestSourceShare checks that a backend's answers wait for each other while they are too much, that the oldest does
// not, and that nothing is left over.
//
// Holds: upstream/answers-share
func TestSourceShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s intake.Source
		var took taker
		request := context.WithValue(t.Context(), intake.TakerKey{}, intake.Taker(&took))
		first, firstCall := s.Begin(request)
		second, secondCall := s.Begin(request)
		gone, cancel := context.WithCancel(request)
		gone, goneCall := s.Begin(gone)
		big := int64(intake.SourceShare)
		oldest := intake.AnswerTo(first)
		if err := oldest.Grow(big / 2); err != nil {
			t.Fatal(err)
		}
		waited := make(chan error, 2)
		go func() { waited <- intake.AnswerTo(gone).Grow(big / 2) }()
		synctest.Wait()
		select {
		case err := <-waited:
			t.Fatalf("an answer over the share did not wait: %v", err)
		default:
		}
		cancel()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Errorf("an answer whose call has ended: %v", err)
		}
		go func() { waited <- intake.AnswerTo(second).Grow(big / 2) }()
		synctest.Wait()
		if err := oldest.Grow(2 * big); err != nil {
			t.Errorf("the oldest does not get more than the share: %v", err)
		}
		synctest.Wait()
		if len(waited) > 0 {
			t.Error("an answer did not wait for one over the share")
		}
		firstCall.End(100)
		if err := <-waited; err != nil {
			t.Error(err)
		}
		if err := oldest.Grow(4 * big); err == nil {
			t.Error("an answer grows when its call has ended")
		}
		if s.Held() != took.taken.Load()-100 {
			t.Errorf("%d held, want %d", s.Held(), took.taken.Load()-100)
		}
		goneCall.End(0)
		secondCall.End(1 << 40)
		if got := s.Held(); got != 0 || took.taken.Load() < big/2 {
			t.Errorf("%d held in the end; the request keeps %d", got, took.taken.Load())
		}
		secondCall.End(0)
	})
}
