package credential

import (
	"context"
	"log/slog"
)

// Handler returns a log handler that removes secrets from messages and attributes before next sees them.
func (s *Scrubber) Handler(next slog.Handler) slog.Handler { return scrubbedLog{next, s} }

type scrubbedLog struct {
	slog.Handler
	scrubber *Scrubber
}

// Handle is part of slog.Handler.
func (l scrubbedLog) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, l.scrubber.String(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(l.attr(a))
		return true
	})
	return l.Handler.Handle(ctx, clean)
}

// WithAttrs is part of slog.Handler.
func (l scrubbedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = l.attr(a)
	}
	return scrubbedLog{l.Handler.WithAttrs(clean), l.scrubber}
}

// WithGroup is part of slog.Handler.
func (l scrubbedLog) WithGroup(name string) slog.Handler {
	return scrubbedLog{l.Handler.WithGroup(name), l.scrubber}
}

func (l scrubbedLog) attr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		v = slog.StringValue(l.scrubber.String(v.String()))
	case slog.KindGroup:
		var group []slog.Attr
		for _, member := range v.Group() {
			group = append(group, l.attr(member))
		}
		v = slog.GroupValue(group...)
	case slog.KindAny:
		// Errors, and values that handlers format each in their own way.
		if text := v.String(); l.scrubber.String(text) != text {
			v = slog.StringValue(l.scrubber.String(text))
		}
	}
	return slog.Attr{Key: a.Key, Value: v}
}
