package admin

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/sangate/sangate/server/turns"
)

// maxPause bounds the pause after one answer.
const maxPause = time.Second

// Turns has answers that cost much made one after the other, in the order in which they
// were asked for. A pause three times as long follows each, so that they take at most a
// quarter of a core, however many ask. Safe for concurrent use.
type Turns struct {
	place *turns.Turns // one at a time
	next  time.Time    // when it may begin; of who has the turn
}

// NewTurns makes one.
func NewTurns() *Turns { return &Turns{place: turns.New(1)} }

// Do does work when it is its turn, or returns an error if ctx ends before. The work must
// not wait for a client.
func (t *Turns) Do(ctx context.Context, work func()) error {
	if err := t.place.Take(ctx, "", ""); err != nil {
		return err
	}
	defer t.place.Give()
	pause := time.NewTimer(time.Until(t.next))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	begun := time.Now()
	defer func() {
		ended := time.Now()
		t.next = ended.Add(min(3*ended.Sub(begun), maxPause))
	}()
	work()
	return nil
}

// handler makes the answers of h in turns, and delivers them outside of them.
func (t *Turns) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		made := &madeAnswer{ResponseWriter: w}
		if t.Do(r.Context(), func() { h.ServeHTTP(made, r) }) != nil {
			return // the client is gone
		}
		if made.status != 0 {
			w.WriteHeader(made.status)
		}
		_, _ = made.body.WriteTo(w) // as above
	})
}

// A madeAnswer is kept until it is delivered.
type madeAnswer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (m *madeAnswer) WriteHeader(status int) {
	if m.status == 0 {
		m.status = status
	}
}

func (m *madeAnswer) Write(p []byte) (int, error) { return m.body.Write(p) }
