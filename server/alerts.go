package server

import (
	"crypto/tls"
	"errors"
	"sync"
	"time"
)

const (
	alertBurst = 4
	alertEvery = time.Second
)

// alerts bounds the handshakes that crypto/tls verifies by itself. It tells the
// client the exact alert, but may check a hundred signatures by keys of the
// client's choice. The zero value is ready. Safe for concurrent use.
type alerts struct {
	mu    sync.Mutex
	spent int
	since time.Time // of the last refill
}

// take reports whether one more may begin.
func (a *alerts) take(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if back := int(now.Sub(a.since) / alertEvery); back > 0 || now.Before(a.since) {
		a.spent, a.since = max(a.spent-max(back, 0), 0), now
	}
	if a.spent >= alertBurst {
		return false
	}
	a.spent++
	return true
}

// wasCheap reports whether the verification by crypto/tls cost no more than our own
// would have: it succeeded, did not come to pass, or was of an ordinary chain.
func (c *connection) wasCheap(conn *tls.Conn, err error) bool {
	sent := conn.ConnectionState().PeerCertificates
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		sent = bad.UnverifiedCertificates
	}
	return err == nil || len(sent) == 0 || c.snapshot.PKI.CheckSent(sent) == nil
}

// giveBack returns the place of a handshake that was cheap.
func (a *alerts) giveBack() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spent = max(a.spent-1, 0)
}
