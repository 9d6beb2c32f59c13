// Package contain keeps a panic in a goroutine that reads other parties' bytes from
// ending the process. It logs each at level error with its stack.
package contain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// ErrPanicked reports work that panicked.
var ErrPanicked = errors.New("panicked")

// Bounds of what is logged of a panic, in bytes.
const (
	maxValue = 1 << 10
	maxStack = 16 << 10
)

// Pause is how long [Loop] waits before it runs again what panicked.
const Pause = time.Second

// Panic is deferred by a goroutine, and logs the panic that ends it. doing names the
// work, as in "read CRL".
func Panic(log *slog.Logger, doing string) {
	if p := recover(); p != nil {
		report(log, doing, p)
	}
}

// Do runs f. It logs a panic and returns it as an error that wraps [ErrPanicked].
func Do(log *slog.Logger, doing string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %w: %s", doing, ErrPanicked, report(log, doing, p))
		}
	}()
	return f()
}

// Loop runs f until it returns or ctx ends, and again after a pause if it panics.
func Loop(ctx context.Context, log *slog.Logger, doing string, f func(context.Context)) {
	for {
		err := Do(log, doing, func() error { f(ctx); return nil })
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(Pause):
		}
	}
}

func report(log *slog.Logger, doing string, p any) string {
	value, stack := fmt.Sprint(p), debug.Stack()
	value = value[:min(len(value), maxValue)]
	log.Error("panic", "doing", doing, "panic", value, "stack", string(stack[:min(len(stack), maxStack)]))
	return value
}
