package spiffe

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoff(t *testing.T) {
	s, err := New(Options{Address: "unix:///run/agent.sock"})
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{ctx: t.Context(), s: s, lost: errors.New("gone")}
	for _, most := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		most *= time.Second
		if got := w.Next(); got < most/2 || got > most {
			t.Errorf("%v after %d failures, want up to %v", got, w.failures, most)
		}
	}
	w.failures = 1 << 30
	if got := w.Next(); got < maxRetry/2 || got > maxRetry {
		t.Errorf("%v after very many", got)
	}
	if w.Reset(); w.Next() > firstRetry {
		t.Error("as slow as before an update")
	}
}

// endings counts the log's lines about a certificate that ended.
type endings struct{ atomic.Int32 }

func (e *endings) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("the certificate has ended")) {
		e.Add(1)
	}
	return len(p), nil
}

// The end of a certificate is told once, and a new one is followed again.
func TestFollowEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log endings
		s, err := New(Options{Address: "unix:///run/agent.sock", Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		var calls atomic.Int32
		s.Notify(func() { calls.Add(1) })
		issue := func() {
			leaf := &x509.Certificate{Raw: []byte(time.Now().String()), NotAfter: time.Now().Add(time.Hour)}
			s.held.Store(&held{cert: &tls.Certificate{Leaf: leaf}})
			s.swaps <- struct{}{}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.followEnd(ctx); close(done) }()
		ended := func() int32 { synctest.Wait(); return log.Load() }

		issue()
		time.Sleep(59 * time.Minute)
		if ended() != 0 {
			t.Error("told before the end")
		}
		issue() // renewed in time
		time.Sleep(59 * time.Minute)
		if ended() != 0 {
			t.Error("told of one that was replaced")
		}
		time.Sleep(24 * time.Hour)
		if ended() != 1 || calls.Load() != 1 {
			t.Errorf("told %d times, called %d times", ended(), calls.Load())
		}
		issue()
		time.Sleep(2 * time.Hour)
		if ended() != 2 {
			t.Errorf("told %d times of two ends", ended())
		}
		cancel()
		<-done
	})
}
