package console

import (
	"strings"
	"sync"
	"time"
	"unicode"
)

// Refusals are the last ones. Safe for concurrent use.
type Refusals struct {
	mu   sync.Mutex
	ring [maxRows]Refusal
	n    int // ever
}

// A Refusal is one of a handshake or a request.
type Refusal struct {
	At              time.Time
	Stage, Reason   string // Stage is handshake, or the decision's
	Detail          string
	Who, Tenant     string
	What            string // method and path
	Remote, Request string
}

// Add notes one; of texts the beginning, in characters that can be seen.
func (r *Refusals) Add(x Refusal) {
	for _, s := range []*string{&x.Detail, &x.Who, &x.What} {
		*s = seen(*s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.n%maxRows] = x
	r.n++
}

// maxText bounds what is shown of a text that a peer may have chosen, in bytes.
const maxText = 300

// seen is a text as it can stand on a page. What peers send can hold line ends, which
// no escaping of HTML touches, and marks that turn the text around them.
func seen(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// List returns them, the last first.
func (r *Refusals) List() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Refusal, 0, min(r.n, maxRows))
	for i := range min(r.n, maxRows) {
		out = append(out, r.ring[(r.n-1-i)%maxRows])
	}
	return out
}
