package main

import (
	"context"
	"io"
	stdlog "log"
	"log/slog"
	"regexp"
	"sync/atomic"

	"github.com/sangate/sangate/server/boundlog"
	"github.com/sangate/sangate/server/config"
)

// A log writes the gate's log as the configuration in force says, which may be
// another at each line.
type log struct {
	text, json slog.Handler
	asText     *atomic.Bool
	level      *slog.LevelVar
}

func newLog(w io.Writer) log {
	level := new(slog.LevelVar)
	options := &slog.HandlerOptions{Level: level}
	return log{slog.NewTextHandler(w, options), slog.NewJSONHandler(w, options), new(atomic.Bool), level}
}

// follow has what is written from now on be as l says.
func (g log) follow(l config.Log) {
	level, _ := l.SlogLevel() // was checked when the configuration was loaded
	g.level.Set(level)
	g.asText.Store(l.Format == "text")
}

// Enabled implements slog.Handler.
func (g log) Enabled(_ context.Context, level slog.Level) bool { return level >= g.level.Level() }

// Handle implements slog.Handler.
func (g log) Handle(ctx context.Context, r slog.Record) error {
	if g.asText.Load() {
		return g.text.Handle(ctx, r)
	}
	return g.json.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (g log) WithAttrs(attrs []slog.Attr) slog.Handler {
	g.text, g.json = g.text.WithAttrs(attrs), g.json.WithAttrs(attrs)
	return g
}

// WithGroup implements slog.Handler.
func (g log) WithGroup(name string) slog.Handler {
	g.text, g.json = g.text.WithGroup(name), g.json.WithGroup(name)
	return g
}

// ofLibraries has what libraries write to the log package's own logger go into the gate's
// log, at level debug: net/http writes a line there for each frame that a server makes up,
// and repeats bytes that nobody asked for.
func ofLibraries(h slog.Handler) {
	lines := slog.NewLogLogger(unquoting{boundlog.NewRepeated(boundlog.New(h))}, slog.LevelDebug)
	stdlog.SetFlags(0)
	stdlog.SetOutput(lines.Writer())
}

// unquoting leaves out what a message quotes: bytes of a peer, which may be a secret that
// it was sent.
type unquoting struct{ slog.Handler }

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// Handle implements slog.Handler.
func (u unquoting) Handle(ctx context.Context, r slog.Record) error {
	r.Message = quoted.ReplaceAllString(r.Message, `"…"`)
	return u.Handler.Handle(ctx, r)
}
