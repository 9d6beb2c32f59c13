package upstream

import (
	"context"
	"log/slog"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/time/rate"

	"github.com/sangate/sangate/pki/contain"
)

// containing keeps a panic of the SDK over what an upstream sends beside its answers from ending the process: it runs
// in a goroutine of the SDK. An upstream can cause it at will, so one in a minute is logged.
func containing(log *slog.Logger) sdk.Middleware {
	lines := &rate.Sometimes{First: 1, Interval: time.Minute}
	return func(next sdk.MethodHandler) sdk.MethodHandler {
		return func(ctx context.Context, method string, req sdk.Request) (res sdk.Result, err error) {
			if method == "notifications/elicitation/complete" { // no upstream was asked to elicit anything
				return nil, nil // the SDK panics without params, and keeps a lock that Close waits for
			}
			panicked := contain.Do(slog.New(sometimes{log.Handler(), lines}), "read a message of an upstream", func() error {
				res, err = next(ctx, method, req)
				return nil
			})
			if panicked != nil {
				return nil, panicked
			}
			return res, err
		}
	}
}

// sometimes is a handler that drops most records.
type sometimes struct {
	slog.Handler
	lines *rate.Sometimes
}

func (s sometimes) Handle(ctx context.Context, r slog.Record) (err error) {
	s.lines.Do(func() { err = s.Handler.Handle(ctx, r) })
	return err
}
