package contain_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sangate/sangate/pki/contain"
)

func TestPanicLoggedWithStack(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	err := contain.Do(log, "read CRL", func() error { panic(strings.Repeat("x", 100_000)) })
	if !errors.Is(err, contain.ErrPanicked) || len(err.Error()) > 2048 {
		t.Errorf("Do = %.100v, want a short error that wraps ErrPanicked", err)
	}
	if err := contain.Do(log, "read CRL", func() error { return context.Canceled }); err != context.Canceled {
		t.Errorf("Do = %v, want the error of its function", err)
	}
	got := out.String()
	if strings.Count(got, "\n") != 1 || len(got) > 32<<10 {
		t.Errorf("logged %d lines of %d bytes, want one that is cut", strings.Count(got, "\n"), len(got))
	}
	for _, want := range []string{`"level":"ERROR"`, `"doing":"read CRL"`, "TestPanicLoggedWithStack"} {
		if !strings.Contains(got, want) {
			t.Errorf("logged %.300s, want %s", got, want)
		}
	}
}

func TestLoopRunsAgainAfterPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		contain.Loop(t.Context(), slog.New(slog.DiscardHandler), "watch", func(context.Context) {
			if runs++; runs < 3 {
				panic("broken")
			}
		})
		if runs != 3 {
			t.Errorf("ran %d times, want 3", runs)
		}
		ctx, cancel := context.WithCancel(t.Context())
		contain.Loop(ctx, slog.New(slog.DiscardHandler), "watch", func(context.Context) { cancel(); panic("broken") })
	})
}
