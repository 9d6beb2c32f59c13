package spiffe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/sangate/sangate/pki/contain"
)

const (
	firstRetry = time.Second // doubled with every failure
	maxRetry   = 30 * time.Second

	maxMessage = 4 << 20 // bytes of one update
	maxHeaders = 32 << 10

	// A peer that is gone without a word is noticed after this. gRPC servers,
	// SPIRE's too, take more than one ping in five minutes for an attack.
	pingEvery   = 6 * time.Minute
	pingTimeout = 20 * time.Second
)

// Run keeps the stream of updates open until ctx ends, and then returns nil.
// While there is none it keeps trying, and says so by log and event.
func (s *Source) Run(ctx context.Context) error {
	if exposed(s.opts.Address) {
		s.opts.Logger.WarnContext(ctx, "the SPIFFE agent is asked over the network, private keys cross it in clear; use its unix socket",
			"address", s.opts.Address)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { contain.Loop(ctx, s.opts.Logger, "follow the end of the SVID", s.followEnd) })

	w := &watcher{ctx: ctx, s: s}
	for {
		err := contain.Do(s.opts.Logger, "watch the SPIFFE agent", w.watch)
		if ctx.Err() != nil {
			return nil
		}
		// The client gives up for good where the agent says Canceled or
		// InvalidArgument; a restarted agent may say otherwise.
		w.lost = err
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.Next()):
		}
	}
}

// A watcher gets what go-spiffe's client has to say, on one goroutine, and is
// its backoff as well, so that what is logged of a failure tells what is next.
type watcher struct {
	ctx      context.Context
	s        *Source
	lost     error // why there is no stream; nil while there is one
	failures int   // in a row
}

func (w *watcher) watch() error {
	client, err := workloadapi.New(w.ctx,
		workloadapi.WithAddr(w.s.opts.Address),
		workloadapi.WithBackoffStrategy(w),
		workloadapi.WithDialOptions(
			grpc.WithNoProxy(), // keys go to nobody's proxy
			grpc.WithDisableServiceConfig(),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
			grpc.WithMaxHeaderListSize(maxHeaders),
			grpc.WithStreamInterceptor(w.s.siftStreams),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout}),
			// gRPC's own waits, up to two minutes, would come on top of ours.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: firstRetry / 2, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxRetry / 10},
				MinConnectTimeout: maxRetry / 3,
			}),
		))
	if err != nil {
		return err
	}
	defer client.Close()
	return client.WatchX509Context(w.ctx, w)
}

// OnX509ContextUpdate vets an update and takes it, or does not.
func (w *watcher) OnX509ContextUpdate(x *workloadapi.X509Context) {
	w.found()
	next, err := w.s.vet(x)
	if err != nil {
		w.s.refuse(w.ctx, err)
		return
	}
	changed := w.s.take(next)
	w.s.noteLeftOut(w.ctx)
	w.s.tell(Event{Op: OpUpdate, Changed: changed})
}

// OnX509ContextWatchError gets two kinds of errors: of an update that does not
// parse, after which the stream goes on, and the one that ended the stream, or
// kept it from beginning, before [watcher.Next] is asked how long to wait. The
// latter is a status of gRPC or, where the agent ended it politely, io.EOF.
func (w *watcher) OnX509ContextWatchError(err error) {
	if w.ctx.Err() != nil {
		return
	}
	if _, ok := status.FromError(err); ok || errors.Is(err, io.EOF) {
		w.lost = err
		return
	}
	w.found()
	w.s.refuse(w.ctx, err)
}

// NewBackoff implements [workloadapi.BackoffStrategy].
func (w *watcher) NewBackoff() workloadapi.Backoff { return w }

// Reset is called with each message.
func (w *watcher) Reset() { w.failures = 0 }

// Next returns how long to wait before the next attempt: doubling, and at random
// between half and all of it, so that the gates of a machine do not come at once.
func (w *watcher) Next() time.Duration {
	w.failures++
	d := min(firstRetry<<min(w.failures-1, 10), maxRetry)
	wait := d/2 + rand.N(d/2) //nolint:gosec // spreads load, guards nothing
	w.s.missing(w.ctx, w.lost, wait)
	return wait
}

func (w *watcher) found() {
	if w.lost != nil {
		w.s.opts.Logger.InfoContext(w.ctx, "the SPIFFE agent answers again")
	}
	w.lost = nil
}

// refuse tells of an update that is not taken.
func (s *Source) refuse(ctx context.Context, err error) {
	err = fmt.Errorf("%w: %w", ErrVet, err)
	s.opts.Logger.ErrorContext(ctx, "an update of the SPIFFE agent is refused", "err", err, "then", s.outlook())
	s.tell(Event{Op: OpUpdate, Err: err})
}

// noteLeftOut tells what of an update that was taken was left out, if it is not what was left
// out of the last.
func (s *Source) noteLeftOut(ctx context.Context) {
	next := s.sifted
	if was := s.leftOut.Swap(&next); was != nil && slices.Equal(*was, next) || was == nil && len(next) == 0 {
		return
	}
	if len(next) == 0 {
		s.opts.Logger.InfoContext(ctx, "the SPIFFE agent's updates are taken whole again")
	} else {
		s.opts.Logger.ErrorContext(ctx, "parts of the SPIFFE agent's update are left out, the rest is in force; "+
			"have their owners look at them", "leftOut", []string(next))
	}
	s.callNotify()
}

// missing tells that there is no stream of updates.
func (s *Source) missing(ctx context.Context, err error, wait time.Duration) {
	if ctx.Err() != nil {
		return
	}
	level := slog.LevelWarn
	if s.Certificate() == nil {
		level = slog.LevelError
	}
	s.opts.Logger.Log(ctx, level, "no updates from the SPIFFE agent", "address", s.opts.Address, "err", err,
		"todo", s.advice(status.Code(err)), "then", s.outlook(), "tryAgainIn", wait.Round(time.Millisecond).String())
	s.tell(Event{Op: OpConnect, Err: err, Next: s.opts.Now().Add(wait)})
}

// followEnd tells when a certificate ends that the agent did not replace, which
// an agent that is there and does nothing would leave unsaid.
func (s *Source) followEnd(ctx context.Context) {
	for {
		var end <-chan time.Time
		crt := s.Certificate()
		if crt != nil {
			end = time.After(crt.Leaf.NotAfter.Sub(s.opts.Now()) + time.Second)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.swaps:
		case <-end:
			if s.Certificate() == nil {
				s.opts.Logger.ErrorContext(ctx, "the certificate has ended and the SPIFFE agent gave no other, handshakes fail; see the agent's log",
					"spiffeID", s.ID(), "notAfter", crt.Leaf.NotAfter)
				s.callNotify()
			}
		}
	}
}
