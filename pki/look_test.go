package pki

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

func TestWatcherSeesChangesBeforeRun(t *testing.T) {
	ca := pkitest.NewCA(t, "ca")
	old, fresh := ca.Issue(t, pkitest.Leaf{}), ca.Issue(t, pkitest.Leaf{})
	dir := t.TempDir()
	f := writeFiles(t, dir, old.CertPEM(), old.KeyPEM(t), ca.PEM())
	src, err := NewSource(f.Load)
	must(t, err)
	writeFiles(t, dir, fresh.CertPEM(), fresh.KeyPEM(t), ca.PEM()) // between load and NewWatcher
	w := NewWatcher(f.Paths, func() error { _, err := src.Reload(); return err }, WatchOptions{Resync: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx, nil) }()
	r := &rig{src: src}
	r.until(t, "what changed before Run", func() bool { return r.inForce(fresh) })
	cancel()
	<-done
}

func TestWatcherForce(t *testing.T) {
	r := newRig(t, WatchOptions{Resync: time.Hour}, nil)
	before := r.calls.Load()
	r.force <- struct{}{}
	r.until(t, "a forced call", func() bool { return r.calls.Load() > before })
}

// TestWatcherWaitsForRest drives the looks by hand: a chain cut off at the end
// of its leaf is a valid pair, so only its coming to rest tells it from whole.
func TestWatcherWaitsForRest(t *testing.T) {
	ca := pkitest.NewCA(t, "ca")
	inter := ca.Intermediate(t, "intermediate", nil)
	cert := inter.Issue(t, pkitest.Leaf{})
	chain := cert.CertPEM()
	leafOnly := chain[:len(chain)-len(inter.PEM())]
	f := writeFiles(t, t.TempDir(), chain, cert.KeyPEM(t), ca.PEM())
	var seen []int
	fail := false
	w := NewWatcher(f.Paths, func() error {
		data, err := os.ReadFile(f.Cert)
		must(t, err)
		seen = append(seen, len(data))
		if fail {
			return errors.New("no")
		}
		return nil
	}, WatchOptions{})
	look := func(rest bool, calls ...int) {
		t.Helper()
		if got := w.look(false); got != rest {
			t.Fatalf("at rest %t, want %t", got, rest)
		}
		if len(seen) != len(calls) || len(calls) > 0 && seen[len(seen)-1] != calls[len(calls)-1] {
			t.Fatalf("called with %v, want %v", seen, calls)
		}
	}
	all, part := len(chain), len(leafOnly)
	look(false)
	look(true, all)
	look(true, all) // nothing new
	writeFile(t, f.Cert, leafOnly)
	look(false, all)
	writeFile(t, f.Cert, chain)
	look(false, all)
	look(true, all) // back to what was called with: nothing to do
	writeFile(t, f.Cert, leafOnly)
	look(false, all)
	fail = true
	look(true, all, part) // it stayed so: then it is meant
	w.retry = time.Now().Add(time.Hour)
	look(true, all, part) // too soon to try again
	w.retry = time.Time{}
	look(true, all, part, part)
	w.retry, fail = time.Time{}, false
	look(true, all, part, part, part)
	look(true, all, part, part, part)
	// Content that never rests is loaded all the same, after a while.
	for i := range maxLooks {
		writeFile(t, f.Cert, append(chain, bytes.Repeat([]byte("\n"), i)...))
		look(false, all, part, part, part)
	}
	writeFile(t, f.Cert, append(chain, bytes.Repeat([]byte("\n"), maxLooks)...))
	look(true, all, part, part, part, all+maxLooks)
}
