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
