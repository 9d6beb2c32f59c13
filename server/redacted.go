package server

import (
	"context"
	"errors"
	"log/slog"
)

// redacted is a log handler that removes values of the environment from errors, parts of
// them included, before the next one has them: wherever an error was made, it names the
// variable.
type redacted struct {
	next   slog.Handler
	redact func(error) error
}

func (h redacted) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h redacted) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.attr(a))
		return true
	})
	return h.next.Handle(ctx, out)
}

func (h redacted) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = h.attr(a)
	}
	return redacted{h.next.WithAttrs(out), h.redact}
}

func (h redacted) WithGroup(name string) slog.Handler {
	return redacted{h.next.WithGroup(name), h.redact}
}

func (h redacted) attr(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	if a.Value.Kind() == slog.KindGroup {
		var group []slog.Attr
		for _, member := range a.Value.Group() {
			group = append(group, h.attr(member))
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(group...)}
	}
	if err, ok := a.Value.Any().(error); ok {
		return slog.Any(a.Key, h.redact(err))
	}
	return a
}

// redact removes values of the environment from an error.
func (s *Server) redact(err error) error {
	if c := s.config.Load(); c != nil {
		return c.Redact(err)
	}
	return err
}

// redactText does the same with the text of an error.
func (s *Server) redactText(text string) string {
	if text == "" {
		return ""
	}
	return s.redact(errors.New(text)).Error()
}
