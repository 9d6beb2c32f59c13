package boundlog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	burst      = 10          // lines of one message in one window
	window     = time.Second // in which they are counted
	maxKinds   = 256         // messages and clients told apart
	otherKinds = "other lines"
)

// Repeated passes a few lines of each message and client a second and counts the others:
// when the second is over one line says how many more there were. A client is what the
// attribute tenant says, or serial, that of the certificate, if there is none. It is for
// lines that a peer can cause at will. Safe for concurrent use.
type Repeated struct {
	slog.Handler
	counts *counts
}

type counts struct {
	mu    sync.Mutex
	kinds map[kind]*count
}

// A kind is what lines have in common that are counted together: one client's do not
// take the place of another's.
type kind struct {
	message    string
	client, of string // the attribute and its value; empty: not known
}

type count struct {
	lines int
	last  slog.Level
	at    slog.Handler
}

// NewRepeated returns a Repeated in front of next.
func NewRepeated(next slog.Handler) Repeated {
	return Repeated{next, &counts{kinds: make(map[kind]*count)}}
}

// Handle implements slog.Handler.
func (h Repeated) Handle(ctx context.Context, r slog.Record) error {
	if h.counts.more(r, h.Handler) > burst {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h Repeated) WithAttrs(attrs []slog.Attr) slog.Handler {
	return Repeated{h.Handler.WithAttrs(attrs), h.counts}
}

// WithGroup implements slog.Handler.
func (h Repeated) WithGroup(name string) slog.Handler {
	return Repeated{h.Handler.WithGroup(name), h.counts}
}

// more counts a line; the first of a window sees to its end.
func (c *counts) more(r slog.Record, at slog.Handler) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := kind{message: clean(r.Message)}
	r.Attrs(func(a slog.Attr) bool {
		if (a.Key == "tenant" || a.Key == "serial") && a.Value.Kind() == slog.KindString && a.Value.String() != "" {
			of.client, of.of = a.Key, clean(a.Value.String())
			return a.Key != "tenant"
		}
		return true
	})
	if c.kinds[of] == nil && len(c.kinds) >= maxKinds {
		of = kind{message: otherKinds}
	}
	k := c.kinds[of]
	if k == nil {
		k = &count{}
		c.kinds[of] = k
		time.AfterFunc(window, func() { c.end(of) })
	}
	k.lines++
	k.last, k.at = r.Level, at
	return k.lines
}

func (c *counts) end(of kind) {
	c.mu.Lock()
	k := c.kinds[of]
	delete(c.kinds, of)
	c.mu.Unlock()
	if k.lines > burst {
		r := slog.NewRecord(time.Now(), k.last, of.message, 0)
		r.AddAttrs(slog.Int("more", k.lines-burst))
		if of.client != "" {
			r.AddAttrs(slog.String(of.client, of.of))
		}
		_ = k.at.Handle(context.Background(), r)
	}
}
