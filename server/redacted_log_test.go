package server

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// late is a value that becomes an error only when it is logged.
type late struct{ err error }

func (l late) LogValue() slog.Value { return slog.AnyValue(l.err) }

// Errors are redacted wherever they stand in a log record.
//
// Holds: operator/interpolated-values-hidden
func TestErrorsInLogAreRedacted(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(redacted{slog.NewJSONHandler(&out, nil), func(error) error { return errors.New("${TOKEN}") }})
	secret := errors.New("hunter2")
	log.Info("x", "err", secret, slog.Group("in", "err", secret, slog.Group("deep", "err", secret)), "late", late{secret})
	log.With("err", secret, slog.Group("in", "err", secret)).WithGroup("under").Info("y", "err", secret)
	if strings.Contains(out.String(), "hunter2") || strings.Count(out.String(), "${TOKEN}") != 7 {
		t.Errorf("logged %s", &out)
	}
}
