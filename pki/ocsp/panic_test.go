package ocsp

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A panicking transport panics as long as it is broken, and answers after that.
type panicking struct {
	broken bool
	then   http.RoundTripper
}

func (p *panicking) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.broken {
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
		transport := &panicking{broken: true, then: &responder{ca: ca}}
		c := start(t, Options{Transport: transport})
		e := c.Entry(chain(ca.leaf(t, "http://r/"), ca))
		synctest.Wait()
		want(t, e, Unknown, "panicked")
		transport.broken = false
		pass(e, 10*time.Minute)
		want(t, e, Good, "")
	})
}
