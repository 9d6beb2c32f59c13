package tracing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// collector is an exporter that answers as it is told to.
type collector struct {
	err     error
	release chan struct{} // nil: it does not wait
}

func (c *collector) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	if c.release != nil {
		<-c.release
	}
	return c.err
}

func (c *collector) Shutdown(context.Context) error { return nil }

// A collector that takes nothing is told of at once, once a minute while that lasts,
// and when it is over, in lines of bounded length.
func TestToldSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		to, told := &collector{}, map[string]int{}
		s := &sender{SpanExporter: to, log: slog.New(slog.NewTextHandler(&log, nil)), tell: func(result string, n int) { told[result] += n }, queue: new(queue)}
		send := func(n int, err error) {
			to.err = err
			if err := s.ExportSpans(t.Context(), make([]sdktrace.ReadOnlySpan, n)); err != nil {
				t.Error(err) // the SDK would tell it in a global place
			}
			time.Sleep(time.Second)
		}
		lines := func() []string {
			defer log.Reset()
			return strings.Split(strings.TrimSpace(log.String()), "\n")
		}
		send(1, nil)
		if log.Len() > 0 {
			t.Errorf("told of a good end: %s", lines())
		}
		for i := range 150 {
			send(2, fmt.Errorf("body %d: %s", i, strings.Repeat("€", 1<<20)))
		}
		got := lines()
		if len(got) != 3 || !strings.Contains(got[0], "spans=2 ") || !strings.Contains(got[1], "spans=120 ") || !strings.Contains(got[1], "body 60") || len(got[2]) > 1000 {
			t.Errorf("of 150 failures in 150 seconds it tells %d lines: %.2000s", len(got), got)
		}
		send(1, nil)
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "traces are sent again") || !strings.Contains(got[0], "dropped=58") {
			t.Errorf("when it is over: %s", got)
		}
		for i := range 50 { // now this way, now that
			send(1, map[bool]error{true: errors.New("no")}[i%2 == 0])
		}
		if got := lines(); len(got) > 2 {
			t.Errorf("told %d lines: %s", len(got), got)
		}
		if told["sent"] != 27 || told["failed"] != 325 {
			t.Errorf("counted %v", told)
		}
	})
}

// What does not fit is left out, and counted; nobody waits.
func TestQueueBounds(t *testing.T) {
	to := &collector{release: make(chan struct{})}
	told := make(chan int, maxWaiting)
	q := new(queue)
	q.tell = func(_ string, n int) { told <- n }
	s := &sender{SpanExporter: to, log: slog.New(slog.DiscardHandler), tell: func(string, int) {}, queue: q}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(s, batching...)
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(q))
	more := func(n int) {
		for range n {
			_, span := tracer(provider).Start(t.Context(), "span")
			span.End()
		}
	}
	if more(maxWaiting); len(told) != 0 {
		t.Errorf("%d spans are dropped that would fit", len(told))
	}
	if more(7); len(told) != 7 {
		t.Errorf("%d spans are dropped, want 7", len(told))
	}
	close(to.release)
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n := q.waiting.Load(); n != 0 {
		t.Errorf("%d spans wait still", n)
	}
}
