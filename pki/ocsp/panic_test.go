package ocsp

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A panicking transport panics as long as it is broken, and answers after that.
type panicking struct {
	broken atomic.Bool
	then   http.RoundTripper
}

func (p *panicking) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.broken.Load() {
		panic("broken")
	}
	return p.then.RoundTrip(r)
}

// TestPanicFailsOneQuestion holds that a panic while an answer is read is a failed
// question, which is asked again.
//
// Holds: authority/panic-contained
func TestPanicFailsOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "ours", nil)
		transport := &panicking{then: &responder{ca: ca}}
		transport.broken.Store(true)
		c := start(t, Options{Transport: transport})
		e := c.Entry(chain(ca.leaf(t, "http://r/"), ca))
		synctest.Wait()
		want(t, e, Unknown, "panicked")
		transport.broken.Store(false)
		pass(e, 10*time.Minute)
		want(t, e, Good, "")
	})
}

// TestPanicBesideQuestions holds that panics after an answer was kept end no look at
// other certificates, however many there are: what follows an answer is run again.
//
// Holds: authority/panic-contained
func TestPanicBesideQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "ours", nil)
		var panics atomic.Int32
		c := start(t, Options{Transport: &responder{ca: ca}, OnAnswer: func(Outcome, error) {
			if panics.Add(1) <= 3*atOnce {
				panic("broken")
			}
		}})
		for range 3 * atOnce {
			e := c.Entry(chain(ca.leaf(t, "http://r/"), ca))
			time.Sleep(10 * time.Second) // a worker that panicked rests for one
			want(t, e, Good, "")
		}
		want(t, c.Entry(chain(ca.leaf(t, "http://r/"), ca)), Unknown, "")
		if n := panics.Load(); n != 3*atOnce {
			t.Errorf("%d answers were told, want %d", n, 3*atOnce)
		}
		e := c.Entry(chain(ca.leaf(t, "http://r/"), ca))
		time.Sleep(10 * time.Second)
		want(t, e, Good, "")
	})
}
