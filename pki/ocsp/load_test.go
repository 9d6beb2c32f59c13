package ocsp

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"
)

// A responder that hangs, with a long line before it, does not keep others'
// certificates from being looked up and refreshed in time.
func TestHangingResponderHoldsUpOnlyItsOwn(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, c *Cache, r *responder, e *Entry) {
		transport := c.client.Transport
		c.client.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "hangs" {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return transport.RoundTrip(req)
		})
		for _, leaf := range many(1000) {
			leaf.OCSPServer = []string{"http://hangs/"}
			leaf.NotAfter = time.Now().Add(24 * time.Hour)
			c.Entry([]*x509.Certificate{leaf, r.ca.cert})
		}
		r.set(func(r *responder) {
			r.edit = func(a *ocsp.Response) { a.NextUpdate = a.ThisUpdate.Add(10 * time.Minute) }
		})
		pass(e, 12*time.Minute) // 1000 looks of 5 s, 8 at once
		n := r.asked.Load()
		fresh := c.Entry(chain(r.ca.leaf(t, "http://r/"), r.ca))
		if status, detail := await(t, fresh); status != Good {
			t.Errorf("%v, %q", status, detail)
		}
		wantAsked(t, r, n+1)
		for range 100 {
			pass(e, time.Minute)
			want(t, e, Good, "")
		}
	})
}

// As many looks as there may be go at once, and no more.
func TestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "ours", nil)
		var mu sync.Mutex
		running, most, all := 0, 0, 0
		c := start(t, Options{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			mu.Lock()
			running++
			all++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return nil, errors.New("no")
		})})
		synctest.Wait() // all asleep
		c.mu.Lock()
		other, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, leaf := range many(2 * atOnce) {
			e := other.Entry([]*x509.Certificate{leaf, ca.cert})
			c.waiting = append(c.waiting, e)
		}
		c.stir()
		c.mu.Unlock()
		time.Sleep(2*time.Second - time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if most != atOnce || all != 2*atOnce {
			t.Errorf("%d at once, %d in two seconds", most, all)
		}
	})
}

// That Run ends while it asks is nobody's failure.
func TestEndOfRun(t *testing.T) {
	ca := newCA(t, "ours", nil)
	asked := make(chan struct{})
	heard := make(outcomes, 10)
	c, err := New(Options{OnAnswer: heard.hear, Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		close(asked)
		<-req.Context().Done()
		return nil, req.Context().Err()
	})})
	if err != nil {
		t.Fatal(err)
	}
	e := c.Entry(chain(ca.leaf(t, "http://r/"), ca))
	ctx, stop := context.WithCancel(t.Context())
	go func() { <-asked; stop() }()
	if err := c.Run(ctx); err != nil {
		t.Error(err)
	}
	if len(heard) != 0 {
		t.Errorf("heard %v", <-heard)
	}
	want(t, e, Unknown, "yet")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
