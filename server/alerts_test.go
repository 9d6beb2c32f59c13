package server

import (
	"testing"
	"time"
)

// TestAlertsAreBounded: few handshakes a second are verified by crypto/tls itself,
// whatever strangers send; those that succeed take nothing away.
//
// Holds: stranger/alert-budget
func TestAlertsAreBounded(t *testing.T) {
	var a alerts
	now := time.Unix(1_000, 0)
	took := func(n int) (got int) {
		for range n {
			if a.take(now) {
				got++
			}
		}
		return got
	}
	if got := took(1_000); got != alertBurst {
		t.Errorf("got %d at once, want %d", got, alertBurst)
	}
	a.giveBack()
	if got := took(10); got != 1 {
		t.Errorf("got %d after one success, want 1", got)
	}
	now = now.Add(2 * alertEvery)
	if got := took(10); got != 2 {
		t.Errorf("got %d after two intervals, want 2", got)
	}
	now = now.Add(time.Hour)
	if got := took(1_000); got != alertBurst {
		t.Errorf("got %d after an hour, want %d", got, alertBurst)
	}
}
