package console

import (
	"cmp"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Refusals are the last ones. Handshakes have a place of their own: who has no
// certificate can make as many as they like, and push no request out. Safe for
// concurrent use.
type Refusals struct {
	mu                   sync.Mutex
	handshakes, requests ring
	n                    uint64 // ever
}

type ring struct {
	rows [maxRows]Refusal
	n    int // ever
}

// A Refusal is one of a handshake or a request, or several that are alike, one after
// the other: then it is the last of them.
type Refusal struct {
	At              time.Time
	Stage, Reason   string // at AtRequest Reason is the code of the answer
	Detail          string
	Who, Via        string // names in certificates: the client's, and that of the proxy that carried it
	Tenant, Rule    string // the SAN rule that named the tenant
	Key             string // or token: which, and whose
	Tool, What      string // What is method and path
	Remote, Request string

	Row   uint64 // its number; that of the first of them
	Times int
	seq   uint64 // the last one's number
}

// Stages beside those of a decision.
const (
	AtHandshake = "handshake"
	AtRequest   = "request" // it was let in, or is none that the gate knows
)

// Add notes one; of texts the beginning, in characters that can be seen.
func (r *Refusals) Add(x Refusal) {
	for _, s := range []*string{&x.Detail, &x.Who, &x.Via, &x.Key, &x.Tool, &x.What} {
		*s = seen(*s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	x.Row, x.seq, x.Times = r.n, r.n, 1
	if x.Stage == AtHandshake {
		r.handshakes.add(x)
		return
	}
	r.requests.add(x)
}

func (r *ring) add(x Refusal) {
	if r.n > 0 {
		if last := &r.rows[(r.n-1)%maxRows]; last.alike(&x) {
			x.Row, x.Times = last.Row, last.Times+1
			*last = x
			return
		}
	}
	r.rows[r.n%maxRows] = x
	r.n++
}

// alike reports whether one is the other once more.
func (x *Refusal) alike(y *Refusal) bool {
	return x.Stage == y.Stage && x.Reason == y.Reason && x.Who == y.Who && x.Via == y.Via && x.Tenant == y.Tenant && x.Key == y.Key && x.Tool == y.Tool &&
		hostOf(x.Remote) == hostOf(y.Remote)
}

func hostOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}

// List returns those in which somebody or something is called so, the last first.
func (r *Refusals) List(filter string) []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Refusal
	for _, ring := range []*ring{&r.handshakes, &r.requests} {
		for i := range min(ring.n, maxRows) {
			if x := &ring.rows[i]; x.has(filter) {
				out = append(out, *x)
			}
		}
	}
	slices.SortFunc(out, func(a, b Refusal) int { return cmp.Compare(b.seq, a.seq) })
	return out
}

func (x *Refusal) has(filter string) bool {
	return slices.ContainsFunc([]string{x.Reason, x.Who, x.Via, x.Tenant, x.Key, x.Tool, x.What, x.Remote, x.Request},
		func(s string) bool { return strings.Contains(s, filter) })
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
