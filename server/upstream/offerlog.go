package upstream

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// The lines that tell of an offer: an upstream that offers something else at each look is told of in all at first.
const (
	offerLines     = 2 * maxLeft
	offerLineEvery = 2 * time.Second // further ones
)

// A fewLines is a slog.Handler that leaves out lines beyond the bound, and says with the next how many.
type fewLines struct {
	slog.Handler
	bound *lineBound
}

type lineBound struct {
	limit *rate.Limiter
	left  atomic.Int64 // out, since the last line
}

func offerLog(to *slog.Logger) *slog.Logger {
	return slog.New(fewLines{to.Handler(), &lineBound{limit: rate.NewLimiter(rate.Every(offerLineEvery), offerLines)}})
}

// Handle implements slog.Handler.
func (f fewLines) Handle(ctx context.Context, r slog.Record) error {
	if !f.bound.limit.AllowN(r.Time, 1) {
		f.bound.left.Add(1)
		return nil
	}
	if n := f.bound.left.Swap(0); n > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int64("linesLeftOut", n))
	}
	return f.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (f fewLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	return fewLines{f.Handler.WithAttrs(attrs), f.bound}
}

// WithGroup implements slog.Handler.
func (f fewLines) WithGroup(name string) slog.Handler {
	return fewLines{f.Handler.WithGroup(name), f.bound}
}
