// Package boundlog keeps a log small whatever peers send: values are cut and
// their control characters escaped, and repeated lines are counted.
package boundlog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"unicode"

	"github.com/sangate/sangate/pki"
)

const (
	maxValue = 1024 // bytes of one value
	maxAttrs = 32   // attributes of one group
	maxDepth = 4    // groups in groups
)

// Handler cuts the message and every value before the next handler has them.
type Handler struct{ next slog.Handler }

// New returns a Handler in front of next.
func New(next slog.Handler) Handler { return Handler{next} }

// Enabled implements slog.Handler.
func (h Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h Handler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, clean(r.Message), r.PC)
	left := maxAttrs
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(cut(a, maxDepth))
		left--
		return left > 0
	})
	return h.next.Handle(ctx, out)
}

// WithAttrs implements slog.Handler.
func (h Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return Handler{h.next.WithAttrs(cutAll(attrs, maxDepth))}
}

// WithGroup implements slog.Handler.
func (h Handler) WithGroup(name string) slog.Handler { return Handler{h.next.WithGroup(clean(name))} }

func cutAll(attrs []slog.Attr, depth int) []slog.Attr {
	out := make([]slog.Attr, 0, min(len(attrs), maxAttrs))
	for _, a := range attrs[:min(len(attrs), maxAttrs)] {
		out = append(out, cut(a, depth))
	}
	return out
}

func cut(a slog.Attr, depth int) slog.Attr {
	a.Key = clean(a.Key)
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(clean(v.String()))
	case slog.KindGroup:
		if depth == 0 {
			return slog.String(a.Key, "…")
		}
		a.Value = slog.GroupValue(cutAll(v.Group(), depth-1)...)
	case slog.KindAny:
		a.Value = cutAny(v)
	default:
		a.Value = v
	}
	return a
}

// cutAny leaves lists of strings as they are where they are short.
func cutAny(v slog.Value) slog.Value {
	switch value := v.Any().(type) {
	case nil:
		return v
	case error:
		return slog.StringValue(clean(value.Error()))
	case []string:
		out := make([]string, 0, min(len(value), maxAttrs))
		for _, s := range value[:min(len(value), maxAttrs)] {
			out = append(out, pki.Cut(escape(pki.Cut(s, maxValue/4)), maxValue/4))
		}
		return slog.AnyValue(out)
	case *slog.Source:
		return v
	default:
		return slog.StringValue(clean(fmt.Sprint(value)))
	}
}

func clean(s string) string { return pki.Cut(escape(pki.Cut(s, maxValue)), maxValue) }

// escape writes what is not printable as Go does.
func escape(s string) string {
	if !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		switch {
		case unicode.IsPrint(c):
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		default:
			fmt.Fprintf(&b, `\u{%x}`, c)
		}
	}
	return b.String()
}
