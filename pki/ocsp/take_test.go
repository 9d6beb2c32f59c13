package ocsp

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// A revocation outlasts its answer, an older Good, an answer that the
// certificate is unknown, and the responder; not a newer Good.
func TestNoWayBack(t *testing.T) {
	var mu sync.Mutex
	notified := 0
	told := func() int { mu.Lock(); defer mu.Unlock(); return notified }
	bubble(t, Options{Notify: func() { mu.Lock(); notified++; mu.Unlock() }}, func(t *testing.T, _ *Cache, r *responder, e *Entry) {
		revoked := time.Now().Add(10 * time.Minute)
		edit := func(f func(*ocsp.Response)) { r.set(func(r *responder) { r.edit = f }) }
		want(t, e, Good, "")
		edit(func(a *ocsp.Response) {
			a.Status, a.RevokedAt, a.RevocationReason = ocsp.Revoked, revoked, ocsp.CertificateHold
			a.ThisUpdate, a.NextUpdate = revoked, revoked.Add(2*time.Hour)
		})
		pass(e, 40*time.Minute)
		want(t, e, Revoked, "certificateHold")
		if told() != 1 {
			t.Errorf("notified %d times", told())
		}
		edit(func(a *ocsp.Response) { a.ThisUpdate, a.NextUpdate = revoked, time.Now().Add(time.Hour) })
		pass(e, 24*time.Hour)
		want(t, e, Revoked, "certificateHold")
		edit(func(a *ocsp.Response) { a.Status = ocsp.Unknown })
		pass(e, 24*time.Hour)
		want(t, e, Revoked, "certificateHold")
		r.set(func(r *responder) { r.whole = func(w http.ResponseWriter) bool { w.WriteHeader(500); return true } })
		pass(e, 24*time.Hour)
		want(t, e, Revoked, "certificateHold")
		if told() != 1 {
			t.Errorf("notified %d times", told())
		}
		r.set(func(r *responder) { r.whole, r.edit = nil, nil })
		pass(e, 2*time.Hour)
		want(t, e, Good, "")
		if told() != 2 {
			t.Errorf("notified %d times", told())
		}
	})
}

// Of what is not a revocation, the newer counts.
func TestOlderAnswers(t *testing.T) {
	now := time.Now()
	at := func(status Status, minutes int) *answer {
		this := now.Add(time.Duration(minutes) * time.Minute)
		return &answer{status: status, thisUpdate: this, until: now.Add(time.Hour)}
	}
	for _, test := range []struct {
		held, next *answer
		want       Status
		bad        bool
	}{
		{at(Good, 0), at(Good, -1), Good, false},
		{at(Good, 0), at(Unknown, -1), Good, true},
		{at(Good, 0), at(Unknown, 0), Unknown, false},
		{at(Unknown, 0), at(Good, -1), Unknown, true},
		{at(Unknown, 0), at(Good, 1), Good, false},
		{at(Good, 0), at(Revoked, -1), Revoked, false},
		{at(Revoked, 0), at(Good, 0), Revoked, true},
		{at(Revoked, 0), at(Good, -1), Revoked, true},
		{at(Revoked, 0), at(Good, 1), Good, false},
		{at(Revoked, 0), at(Unknown, 1), Revoked, true},
		{at(Revoked, 0), at(Revoked, -1), Revoked, false},
	} {
		e := &Entry{}
		e.state.Store(newState(test.held))
		changed, err := e.take(test.next, now)
		status, _ := e.Status(now)
		if status != test.want || (err != nil) != test.bad || changed != ((status == Revoked) != (test.held.status == Revoked)) {
			t.Errorf("%v at %v after %v at %v: %v, changed %v, %v", test.next.status, test.next.thisUpdate,
				test.held.status, test.held.thisUpdate, status, changed, err)
		}
	}
}

// A later word of a revocation counts for what may lift it.
func TestRevokedTwice(t *testing.T) {
	now := time.Now()
	e := &Entry{}
	e.state.Store(newState(&answer{status: Revoked, thisUpdate: now.Add(-2 * time.Hour), until: now.Add(-time.Hour)}))
	for _, this := range []time.Time{now, now.Add(-90 * time.Minute)} {
		if changed, err := e.take(&answer{status: Revoked, thisUpdate: this, until: now.Add(time.Hour)}, now); changed || err != nil {
			t.Error(changed, err)
		}
	}
	if _, err := e.take(&answer{status: Good, thisUpdate: now.Add(-time.Hour), until: now.Add(time.Hour)}, now); err == nil {
		t.Error("lifted by what was said before")
	}
	want(t, e, Revoked, "")
}

// A certificate the responder does not know yet is asked about again soon.
func TestUnknownIsAskedAgain(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, c *Cache, r *responder, e *Entry) {
		r.set(func(r *responder) { r.edit = func(a *ocsp.Response) { a.Status = ocsp.Unknown } })
		fresh := c.Entry(chain(r.ca.leaf(t, "http://r/"), r.ca))
		if status, detail := await(t, fresh); status != Unknown || !strings.Contains(detail, "does not know it") {
			t.Errorf("%v, %q", status, detail)
		}
		r.set(func(r *responder) { r.edit = nil })
		pass(fresh, 2*time.Second)
		want(t, fresh, Good, "")
	})
}
