package revocation_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/pki/revocation"
)

// TestPanicFailsOneRefresh holds that what panics while a list is read is a failed
// refresh, and the next one is made as ever.
//
// Holds: authority/panic-contained
func TestPanicFailsOneRefresh(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	broken := true
	opts := revocation.SourceOptions{URLs: []string{crlURL}, Transport: &server{handler: func(w http.ResponseWriter, _ *http.Request) {
		if broken {
			panic("broken")
		}
		_, _ = w.Write(ca.crl(t, list{number: 1}))
	}}}
	updates := new(record)
	opts.Issuers = func() []*x509.Certificate { return certs(ca) }
	opts.OnUpdate = updates.add
	src, err := revocation.NewSource(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Load(context.Background()); !errors.Is(err, contain.ErrPanicked) {
		t.Fatalf("Load = %v, want an error that wraps ErrPanicked", err)
	}
	if got := updates.last().Outcome; got != revocation.Failed {
		t.Errorf("outcome %q, want %q", got, revocation.Failed)
	}
	broken = false
	if err := src.Load(context.Background()); err != nil {
		t.Errorf("Load after the panic = %v, want nil", err)
	}
}

// TestPanicBesideRefresh holds that a panic after a list was read, in whoever is told
// of it, ends neither Load nor the refreshes of the list.
//
// Holds: authority/panic-contained
func TestPanicBesideRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newIssuer(t, "ours", nil, nil)
		told := 0
		opts := revocation.SourceOptions{URLs: []string{crlURL}, Transport: &server{handler: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(ca.crl(t, list{number: 1}))
		}}}
		opts.Issuers = func() []*x509.Certificate { return certs(ca) }
		opts.OnUpdate = func(revocation.Update) {
			if told++; told <= 3 {
				panic("broken")
			}
		}
		src, err := revocation.NewSource(opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := src.Load(t.Context()); !errors.Is(err, contain.ErrPanicked) {
			t.Errorf("Load = %v, want an error that wraps ErrPanicked", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = src.Run(ctx) })
		for range 4 {
			src.Reload()
			time.Sleep(2 * contain.Pause)
		}
		stop()
		running.Wait()
		if told < 4 {
			t.Errorf("told %d times, want at least 4", told)
		}
	})
}
