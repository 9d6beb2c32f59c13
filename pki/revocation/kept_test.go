package revocation_test

import (
	"context"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/pki/revocation"
)

// kept is a source of one URL whose lists are kept in dir, looked at once.
func kept(t *testing.T, dir string, at *server, now func() time.Time, issuers ...*issuer) (*revocation.Source, error) {
	t.Helper()
	src, err := revocation.NewSource(revocation.SourceOptions{URLs: []string{crlURL}, Dir: dir, Transport: at, Now: now,
		Issuers: func() []*x509.Certificate { return certs(issuers...) }})
	if err != nil {
		t.Fatal(err)
	}
	return src, src.Load(t.Context())
}

// A CA that has changed its key signs lists with the new one at once. The list
// of the old one goes on beside it, and both are there after a start without the
// CA; nothing goes back behind what was kept.
func TestListsOfBothKeys(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "crl"), time.Now()
	clock := func() time.Time { return now }
	before, after := newIssuer(t, "ca", nil, nil), newIssuer(t, "ca", nil, nil)
	lost, fine := before.leaf(t, numbers(7)[0]), before.leaf(t, numbers(8)[0])
	newLost, newFine := after.leaf(t, numbers(7)[0]), after.leaf(t, numbers(9)[0])
	der := before.crl(t, list{number: 5, this: now.Add(-time.Minute), serials: numbers(7)})
	at := &server{handler: serve(func() []byte { return der })}
	src, err := kept(t, dir, at, clock, before, after)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, want ...revocation.Status) {
		t.Helper()
		set := revocation.NewSet(src.Lists(), nil, revocation.SetOptions{Missing: src.Missing()})
		var got []revocation.Status
		got = append(got, set.CheckChain(before.chain(lost), nil, now).Status, set.CheckChain(before.chain(fine), nil, now).Status,
			set.CheckChain(after.chain(newLost), nil, now).Status, set.CheckChain(after.chain(newFine), nil, now).Status)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	const bad, good, unknown = revocation.Revoked, revocation.Good, revocation.Unknown
	check("the old key's list", bad, good, unknown, unknown)

	at.change(func() { der = after.crl(t, list{number: 1, this: now, serials: numbers(7)}) })
	if err := src.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("both", bad, good, bad, good)
	at.change(func() { der = after.crl(t, list{number: 2, this: now, serials: numbers(9)}) })
	if err := src.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("the next of the new key", bad, good, good, bad)

	down := &server{handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }}
	if src, err = kept(t, dir, down, clock, before, after); err == nil {
		t.Error("that the CA is away is not told")
	}
	check("from disk", bad, good, good, bad)
	if src.Lists()[0].Name != crlURL {
		t.Errorf("a list called %q", src.Lists()[0].Name)
	}

	at.change(func() { der = after.crl(t, list{number: 1, this: now.Add(-time.Second)}) })
	if src, err = kept(t, dir, at, clock, before, after); err == nil {
		t.Error("a list older than the one that was kept was taken")
	}
	check("not back", bad, good, good, bad)

	now = now.Add(48 * time.Hour) // leaves and issuers of these tests last longer
	src, _ = kept(t, dir, down, clock, before, after)
	check("ended", bad, unknown, unknown, bad)
}

// What was kept is not trusted for where it lies.
func TestKeptListsAreChecked(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	clock := func() time.Time { return now }
	ca, stranger := newIssuer(t, "ca", nil, nil), newIssuer(t, "ca", nil, nil)
	at := &server{handler: serve(func() []byte { return ca.crl(t, list{this: now}) })}
	if _, err := kept(t, dir, at, clock, ca); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.crl"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	down := &server{handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }}
	for name, content := range map[string][]byte{
		"another's": stranger.crl(t, list{this: now}), "torn": ca.crl(t, list{this: now})[:40], "empty": nil,
	} {
		if err := os.WriteFile(files[0], content, 0o600); err != nil {
			t.Fatal(err)
		}
		src, err := kept(t, dir, down, clock, ca)
		if err == nil || len(src.Lists()) != 0 || len(src.Missing()) != 1 {
			t.Errorf("%s: %d lists, %v", name, len(src.Lists()), err)
		}
	}
}

// However many ask, there is one look in ten seconds, and all wait for it.
func TestLookAgain(t *testing.T) {
	ca := newIssuer(t, "ca", nil, nil)
	synctest.Test(t, func(t *testing.T) {
		at := &server{handler: serve(func() []byte { return ca.crl(t, list{}) })}
		src, _, stop := observed(t, revocation.SourceOptions{URLs: []string{crlURL}, Transport: at}, ca)
		defer stop()
		pass(time.Second)
		first := len(at.gaps())
		for range 3 {
			done := make(chan struct{})
			for range 5 {
				go func() { src.LookAgain(t.Context()); done <- struct{}{} }()
			}
			for range 5 {
				<-done
			}
		}
		if n := len(at.gaps()) - first; n != 1 {
			t.Errorf("%d looks, want 1", n)
		}
		pass(11 * time.Second)
		src.LookAgain(t.Context())
		if n := len(at.gaps()) - first; n != 2 {
			t.Errorf("%d looks after a while, want 2", n)
		}
	})
}

// A look that somebody waits for may be under way while Run begins; neither minds the
// other (with the race detector).
func TestLookAgainAsRunBegins(t *testing.T) {
	ca := newIssuer(t, "ca", nil, nil)
	list := ca.crl(t, list{})
	at := &server{handler: serve(func() []byte { return list })}
	for range 100 {
		src, err := kept(t, t.TempDir(), at, time.Now, ca)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := src.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		src.LookAgain(ctx)
		cancel()
		running.Wait()
	}
}
