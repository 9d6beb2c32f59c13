package ocsp

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"
)

// bubble runs f with its own clock, a CA and its responder, a cache that runs,
// and an entry of one certificate.
func bubble(t *testing.T, opts Options, f func(t *testing.T, c *Cache, r *responder, e *Entry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "ours", nil)
		r := &responder{ca: ca}
		opts.Transport = r
		c := start(t, opts)
		e := c.Entry(chain(ca.leaf(t, "http://r/"), ca))
		synctest.Wait()
		f(t, c, r, e)
	})
}

func want(t testing.TB, e *Entry, status Status, detail string) {
	t.Helper()
	s, d := e.Status(time.Now())
	if s != status || !strings.Contains(d, detail) {
		t.Errorf("%v, %q; want %v, %q", s, d, status, detail)
	}
}

func wantAsked(t testing.TB, r *responder, n int64) {
	t.Helper()
	if asked := r.asked.Load(); asked != n {
		t.Errorf("asked %d times, want %d", asked, n)
	}
}

// pass lets time go by while e is in use.
func pass(e *Entry, d time.Duration) {
	const step = 10 * time.Second
	for ; d > 0; d -= step {
		time.Sleep(min(step, d))
		synctest.Wait()
		e.Status(time.Now())
	}
}

// An answer is asked for anew at half its way, less the jitter, and no later
// than Every.
func TestRefresh(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, _ *Cache, r *responder, e *Entry) {
		pass(e, 23*time.Minute)
		wantAsked(t, r, 1)
		pass(e, 8*time.Minute)
		wantAsked(t, r, 2)
		pass(e, 24*time.Hour) // 48 to 60 more
		if n := r.asked.Load(); n < 48 || n > 62 {
			t.Errorf("asked %d times in a day", n)
		}
		want(t, e, Good, "")
	})
	bubble(t, Options{Every: 10 * time.Minute}, func(t *testing.T, _ *Cache, r *responder, e *Entry) {
		pass(e, 10*time.Minute)
		wantAsked(t, r, 2)
	})
}

// A responder that is gone is asked less and less often; what it said holds
// until its end, and no longer; and its return is noticed.
func TestBackoff(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, _ *Cache, r *responder, e *Entry) {
		gone := true
		r.set(func(r *responder) {
			r.whole = func(w http.ResponseWriter) bool {
				if gone {
					w.WriteHeader(503)
				}
				return gone
			}
		})
		pass(e, 59*time.Minute)
		want(t, e, Good, "")
		if n := r.asked.Load(); n < 10 || n > 60 {
			t.Errorf("asked %d times in the half hour before its end", n)
		}
		pass(e, time.Minute+time.Second)
		want(t, e, Unknown, "since then: the OCSP responder \"r\" answered 503")
		n := r.asked.Load()
		pass(e, time.Hour)
		if n = r.asked.Load() - n; n < 59 || n > 121 {
			t.Errorf("asked %d times in an hour without an answer", n)
		}
		r.set(func(*responder) { gone = false })
		pass(e, time.Minute)
		want(t, e, Good, "")
		n = r.asked.Load()
		pass(e, 20*time.Minute)
		wantAsked(t, r, n)
	})
}

// A handshake waits through a failure that is soon made good, but not for a
// look that will not be in its time.
func TestAwaitThroughFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "ours", nil)
		r := &responder{ca: ca}
		failures := 2
		r.whole = func(w http.ResponseWriter) bool {
			if failures--; failures >= 0 {
				w.Write(ocsp.TryLaterErrorResponse)
			}
			return failures >= 0
		}
		c := start(t, Options{Transport: r})
		began := time.Now()
		if status, detail := await(t, c.Entry(chain(ca.leaf(t, "http://r/"), ca))); status != Good {
			t.Errorf("%v, %q", status, detail)
		}
		if took := time.Since(began); took < time.Second || took > 3*time.Second {
			t.Errorf("after %v", took)
		}

		r.set(func(*responder) { failures = 1 << 30 })
		e := c.Entry(chain(ca.leaf(t, "http://r/"), ca))
		pass(e, 10*time.Minute)
		for { // until the next look is not in that time
			c.mu.Lock()
			due := e.due
			c.mu.Unlock()
			if time.Until(due) > 5*time.Second {
				break
			}
			pass(e, time.Second)
		}
		began = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for range 10 {
			status, detail := e.Await(ctx)
			if status != Unknown || !strings.Contains(detail, "try later") {
				t.Errorf("%v, %q", status, detail)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("after %v", took)
		}
	})
}

// What nobody asks about is forgotten, and not asked about; but a revocation is
// kept until the certificate ends.
func TestForget(t *testing.T) {
	bubble(t, Options{Idle: 30 * time.Minute}, func(t *testing.T, c *Cache, r *responder, e *Entry) {
		leaf := certify(t, r.ca, &x509.Certificate{OCSPServer: []string{"http://r/"}, NotAfter: time.Now().Add(48 * time.Hour)})
		r.set(func(r *responder) {
			r.edit = func(a *ocsp.Response) {
				if a.SerialNumber.Cmp(leaf.cert.SerialNumber) == 0 {
					a.Status, a.RevokedAt = ocsp.Revoked, time.Now()
				}
			}
		})
		gone := c.Entry(chain(leaf, r.ca))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if c.Len() != 1 || e.held.Load() || !gone.held.Load() {
			t.Errorf("%d entries", c.Len())
		}
		if n := r.asked.Load(); n > 6 { // two first looks, and one or two of each before it is idle
			t.Errorf("asked %d times", n)
		}
		want(t, gone, Revoked, "")
		want(t, e, Unknown, "ended") // and asks again
		synctest.Wait()
		want(t, e, Good, "")
		if c.Len() != 2 {
			t.Errorf("%d entries", c.Len())
		}
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if c.Len() != 0 { // the one forgotten, the other's certificate ended
			t.Errorf("%d entries", c.Len())
		}
	})
}

// The log has a line for the first failure in a row, and for a revocation.
func TestLog(t *testing.T) {
	var mu sync.Mutex
	var b bytes.Buffer
	logger := slog.New(slog.NewTextHandler(lockedWriter{&mu, &b}, nil))
	bubble(t, Options{Logger: logger}, func(t *testing.T, _ *Cache, r *responder, e *Entry) {
		r.set(func(r *responder) { r.whole = func(w http.ResponseWriter) bool { w.WriteHeader(500); return true } })
		pass(e, 50*time.Minute)
		r.set(func(r *responder) {
			r.whole = nil
			r.edit = func(a *ocsp.Response) { a.Status, a.RevokedAt = ocsp.Revoked, time.Now() }
		})
		pass(e, 20*time.Minute)
		mu.Lock()
		defer mu.Unlock()
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		serial := fmt.Sprintf("serial=%x", e.serial)
		if len(lines) != 2 || !strings.Contains(lines[0], "answered 500") || !strings.Contains(lines[1], "certificate revoked") ||
			!strings.Contains(lines[0], serial) {
			t.Errorf("%s", b.String())
		}
	})
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}
