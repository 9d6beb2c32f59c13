package revocation_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/pki/revocation"
)

// A server answers as handler says, without a network: so it works in a bubble.
type server struct {
	handler func(w http.ResponseWriter, r *http.Request)

	mu sync.Mutex  // held while the handler runs
	at []time.Time // of the requests
}

// change changes what the handler reads.
func (s *server) change(what func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what()
}

// pass lets time pass in the bubble, and all that it wakes settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Now())
	w := httptest.NewRecorder()
	s.handler(w, r)
	if w.Code == 0 {
		return nil, fmt.Errorf("down")
	}
	return w.Result(), nil
}

func (s *server) gaps() []time.Duration {
	var out []time.Duration
	for i := 1; i < len(s.at); i++ {
		out = append(out, s.at[i].Sub(s.at[i-1]))
	}
	return out
}

func serve(der func() []byte) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.Write(der()) }
}

const crlURL = "http://ca.example/crl"

// A record keeps what a source tells.
type record struct {
	mu      sync.Mutex
	updates []revocation.Update
}

func (r *record) add(u revocation.Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.updates = append(r.updates, u)
}

func (r *record) all() []revocation.Update {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.updates)
}

func (r *record) last() revocation.Update {
	all := r.all()
	return all[len(all)-1]
}

// observed starts a source in the background of the bubble.
func observed(t *testing.T, opts revocation.SourceOptions, issuers ...*issuer) (src *revocation.Source, updates *record, stop func()) {
	t.Helper()
	updates = new(record)
	opts.Issuers = func() []*x509.Certificate { return certs(issuers...) }
	opts.OnUpdate = updates.add
	src, err := revocation.NewSource(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx) }()
	return src, updates, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func outcomes(updates []revocation.Update) []revocation.Outcome {
	var out []revocation.Outcome
	for _, u := range updates {
		out = append(out, u.Outcome)
	}
	return out
}

func TestSourceSchedule(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	tests := []struct {
		name     string
		life     time.Duration
		every    time.Duration
		from, to time.Duration // of the pause between two looks
	}{
		{"two thirds", 30 * time.Minute, 0, 18 * time.Minute, 20 * time.Minute},
		{"at least every hour", 24 * time.Hour, 0, 54 * time.Minute, time.Hour},
		{"as told", 24 * time.Hour, 6 * time.Minute, 324 * time.Second, 6 * time.Minute},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				number := int64(0)
				s := &server{handler: serve(func() []byte {
					number++
					return ca.crl(t, list{number: number, next: time.Now().Add(tc.life)})
				})}
				src, updates, stop := observed(t, revocation.SourceOptions{URLs: []string{crlURL}, Every: tc.every, Transport: s}, ca)
				pass(5*tc.to + time.Second)
				stop()
				if gaps := s.gaps(); len(gaps) < 4 || slices.Min(gaps) < tc.from || slices.Max(gaps) > tc.to || slices.Min(gaps) == slices.Max(gaps) {
					t.Errorf("pauses %v", gaps)
				}
				if lists := src.Lists(); len(lists) != 1 || lists[0].Number.Int64() != number {
					t.Errorf("lists %v", lists)
				}
				for _, u := range updates.all() {
					if u.Name != crlURL || u.Outcome != revocation.Loaded || u.List == nil {
						t.Errorf("%+v", u)
					}
				}
			})
		})
	}
}

func TestSourceBacksOffAndKeepsTheLastGood(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	synctest.Test(t, func(t *testing.T) {
		good, down := ca.crl(t, list{next: time.Now().Add(30 * time.Minute)}), true
		s := &server{handler: func(w http.ResponseWriter, _ *http.Request) {
			if down {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.Write(good)
		}}
		src, updates, stop := observed(t, revocation.SourceOptions{URLs: []string{crlURL}, Transport: s}, ca)
		pass(30 * time.Second)
		if len(src.Lists()) != 0 || !slices.Equal(src.Missing(), []string{crlURL}) {
			t.Errorf("lists %v, missing %v", src.Lists(), src.Missing())
		}
		for i, gap := range s.gaps() {
			if most := 5 * time.Second << i; gap > most || gap < most/2 {
				t.Errorf("pause %d: %v", i, gap)
			}
		}
		s.change(func() { down = false })
		pass(time.Minute)
		if len(src.Lists()) != 1 || src.Missing() != nil {
			t.Fatalf("lists %v, missing %v", src.Lists(), src.Missing())
		}
		s.change(func() { down = true })
		pass(2 * time.Hour)
		if last := updates.last(); last.Outcome != revocation.Failed || !strings.Contains(last.Err.Error(), "503") || last.List == nil {
			t.Errorf("%+v", last)
		}
		if len(src.Lists()) != 1 {
			t.Error("the last good did not stay")
		}
		if n := len(s.at); n > 40 {
			t.Errorf("%d requests", n)
		}
		stop()
	})
}

func TestSourceRefusesOlderLists(t *testing.T) {
	ca, other := newIssuer(t, "ours", nil, nil), newIssuer(t, "other", nil, nil)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var serving []byte
		s := &server{handler: serve(func() []byte { return serving })}
		serving = ca.crl(t, list{number: 5, serials: numbers(42)})
		src, updates, stop := observed(t, revocation.SourceOptions{URLs: []string{crlURL}, Transport: s}, ca, other)
		synctest.Wait()
		held := src.Lists()[0]
		for _, tc := range []struct {
			name string
			der  []byte
		}{
			{"lower number", ca.crl(t, list{number: 4, this: start.Add(time.Minute)})},
			{"no number", ca.byHand(t, utc(start.Add(time.Minute)), utc(start.Add(time.Hour)))},
			{"older", ca.crl(t, list{number: 6, this: start.Add(-time.Minute)})},
			{"wrong signer", newIssuer(t, "ours", nil, nil).crl(t, list{number: 9, this: start.Add(time.Minute)})},
			{"junk", []byte("<html>")},
		} {
			s.change(func() { serving = tc.der })
			src.Reload()
			synctest.Wait()
			if last := updates.last(); last.Outcome != revocation.Refused || last.Err == nil {
				t.Errorf("%s: %+v", tc.name, last)
			}
			if src.Lists()[0] != held {
				t.Errorf("%s: the last good did not stay", tc.name)
			}
		}
		// A list of another issuer replaces none, so its date does not matter.
		s.change(func() { serving = other.crl(t, list{number: 1, this: start.Add(-time.Minute)}) })
		src.Reload()
		synctest.Wait()
		if last := updates.last(); last.Outcome != revocation.Loaded || last.List != held || len(src.Lists()) != 2 {
			t.Errorf("an older list of another issuer: %+v, %d lists", last, len(src.Lists()))
		}
		s.change(func() { serving = ca.crl(t, list{number: 6, this: start.Add(time.Second)}) })
		src.Reload()
		synctest.Wait()
		if src.Lists()[0].Number.Int64() != 6 {
			t.Errorf("outcomes %v", outcomes(updates.all()))
		}
		stop()
	})
}

func TestSourceConditionalRequests(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	synctest.Test(t, func(t *testing.T) {
		good := ca.crl(t, list{next: time.Now().Add(3 * time.Hour)})
		serving, etag, modified := good, `"1"`, "Mon, 23 Nov 2026 00:00:00 GMT"
		var notModified, whole int
		s := &server{handler: func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") == etag && r.Header.Get("If-Modified-Since") == modified {
				notModified++
				w.WriteHeader(http.StatusNotModified)
				return
			}
			whole++
			w.Header().Set("ETag", etag)
			w.Header().Set("Last-Modified", modified)
			w.Write(serving)
		}}
		var published atomic.Int32
		src, updates, stop := observed(t, revocation.SourceOptions{URLs: []string{crlURL}, Every: 10 * time.Minute, Transport: s,
			Notify: func([]*revocation.CRL) { published.Add(1) }}, ca)
		pass(time.Hour)
		if whole != 1 || notModified < 5 || published.Load() != 1 {
			t.Errorf("%d whole, %d not modified, published %d: %v", whole, notModified, published.Load(), outcomes(updates.all()))
		}
		// A list that is refused must be asked for whole again, not be "not modified".
		s.change(func() { serving, etag = []byte("<html>"), `"2"` })
		pass(time.Minute * 20)
		s.change(func() { serving = good })
		if last := updates.last(); last.Outcome != revocation.Refused {
			t.Errorf("junk: %+v", last)
		}
		pass(time.Minute * 20)
		if last := updates.last(); last.Outcome != revocation.Unchanged || published.Load() != 1 {
			t.Errorf("good again: %+v, published %d", last, published.Load())
		}
		pass(2 * time.Hour) // it ends, and is still "not modified"
		last := updates.last()
		if last.Outcome != revocation.Stale || last.List == nil || len(src.Lists()) != 1 {
			t.Errorf("ended: %+v", last)
		}
		stop()
	})
}
