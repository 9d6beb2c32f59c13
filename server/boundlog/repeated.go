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
	maxKinds   = 64          // messages told apart
	otherKinds = "other lines"
)

// Repeated passes a few lines of each message a second and counts the others:
// when the second is over one line says how many more there were. It is for
// lines that a peer can cause at will. Safe for concurrent use.
type Repeated struct {
	slog.Handler
	counts *counts
}

type counts struct {
	mu    sync.Mutex
	kinds map[string]*count
}

type count struct {
	lines int
	last  slog.Level
	at    slog.Handler
}

// NewRepeated returns a Repeated in front of next.
func NewRepeated(next slog.Handler) Repeated {
	return Repeated{next, &counts{kinds: make(map[string]*count)}}
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
	kind := clean(r.Message)
	if c.kinds[kind] == nil && len(c.kinds) >= maxKinds {
		kind = otherKinds
	}
	k := c.kinds[kind]
	if k == nil {
		k = &count{}
		c.kinds[kind] = k
		time.AfterFunc(window, func() { c.end(kind) })
	}
	k.lines++
	k.last, k.at = r.Level, at
	return k.lines
}

func (c *counts) end(kind string) {
	c.mu.Lock()
	k := c.kinds[kind]
	delete(c.kinds, kind)
	c.mu.Unlock()
	if k.lines > burst {
		r := slog.NewRecord(time.Now(), k.last, kind, 0)
		r.AddAttrs(slog.Int("more", k.lines-burst))
		_ = k.at.Handle(context.Background(), r)
	}
}
