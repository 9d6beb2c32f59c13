package pki

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestSlowFailureRepeatedSeldom checks that content which is slow to refuse does not keep a core busy.
func TestSlowFailureRepeatedSeldom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		w := NewWatcher(func() []string { return []string{file} }, func() error {
			calls++
			time.Sleep(2 * time.Second)
			return errors.New("refused")
		}, WatchOptions{NoNotify: true})
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { w.Run(ctx, nil); close(done) }()
		time.Sleep(200 * time.Second)
		cancel()
		<-done
		if calls < 7 || calls > 11 {
			t.Errorf("%d calls of 2 s in 200 s, want about 9", calls)
		}
	})
}
