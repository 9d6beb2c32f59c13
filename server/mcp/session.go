package mcp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"

	"github.com/sangate/sangate/server/auth"
)

// sessionHeader carries the id of a session (revisions up to 2025-11-25).
const sessionHeader = "Mcp-Session-Id"

// Bounds of sessions.
const (
	sessionLife = 24 * time.Hour
	maxEnded    = 10_000 // ids that are held because their session was ended
)

// sessions makes and knows the ids of sessions of older revisions. An id belongs
// to a tenant and an identity, whatever certificate or token they use by then.
// It carries its own proof, so nothing is held for it here: who made it, until
// when, and a second one that only its owner's requests fit. What a session
// does, each request's own decision says.
type sessions struct {
	key [sha256.Size]byte // of this process: after a restart clients are told to begin anew
	now func() time.Time

	mu    sync.Mutex
	ended map[sessionID]time.Time // until when the id would be good
}

// A sessionID is 16 random bytes, the Unix second it ends, the proof that it is
// ours, and the proof whose it is.
type sessionID [16 + 8 + 16 + 16]byte

var sessionEncoding = base64.RawURLEncoding.Strict()

func newSessions(now func() time.Time) *sessions {
	s := &sessions{now: now, ended: make(map[sessionID]time.Time)}
	_, _ = rand.Read(s.key[:]) // never fails
	return s
}

// begin returns the id of a new session of whoever d admits.
func (s *sessions) begin(d *auth.Decision) string {
	var id sessionID
	_, _ = rand.Read(id[:16])
	binary.BigEndian.PutUint64(id[16:], uint64(s.now().Add(sessionLife).Unix()))
	copy(id[24:], s.prove(id[:24], ""))
	copy(id[40:], s.prove(id[:40], owner(d)))
	return sessionEncoding.EncodeToString(id[:])
}

// owner is who a session belongs to.
func owner(d *auth.Decision) string {
	return d.Principal.TenantID + "\x00" + d.Principal.Key
}

func (s *sessions) prove(id []byte, owner string) []byte {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write(id)
	mac.Write([]byte(owner))
	return mac.Sum(nil)[:16]
}

// A verdict says what a request's session id is.
type verdict uint8

const (
	malformed verdict = iota // several were sent
	unknown                  // not ours, or over
	foreign                  // somebody else's
	own
)

// look reads the session id of a request, as its header has it.
func (s *sessions) look(values []string, d *auth.Decision) (sessionID, verdict) {
	var id sessionID
	if len(values) != 1 {
		return id, malformed
	}
	if len(values[0]) != sessionEncoding.EncodedLen(len(id)) {
		return id, unknown
	}
	if _, err := sessionEncoding.Decode(id[:], []byte(values[0])); err != nil {
		return id, unknown
	}
	switch {
	case !hmac.Equal(id[24:40], s.prove(id[:24], "")), s.over(id):
		return id, unknown
	case !hmac.Equal(id[40:], s.prove(id[:40], owner(d))):
		return id, foreign
	}
	return id, own
}

func (s *sessions) end(id sessionID) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, until := range s.ended {
		if len(s.ended) >= maxEnded || now.After(until) {
			delete(s.ended, other) // its owner could go on with it, which harms nobody
		}
	}
	s.ended[id] = id.until()
}

func (s *sessions) over(id sessionID) bool {
	if !s.now().Before(id.until()) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, over := s.ended[id]
	return over
}

func (id *sessionID) until() time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(id[16:24])), 0)
}
