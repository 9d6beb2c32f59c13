package tracing

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Results of the sending of spans, each in the end one of them.
const (
	resultSent    = "sent"
	resultFailed  = "failed"  // the collector did not take it
	resultDropped = "dropped" // there was no room for it to wait
)

// Results are what becomes of spans.
func Results() []string { return []string{resultSent, resultFailed, resultDropped} }

// maxWaiting bounds how many spans wait, those that are being sent among them.
const maxWaiting = 2048

// batching is how they are sent. The SDK's queue has room for all that wait, so that
// it drops none: it would tell nobody.
var batching = []sdktrace.BatchSpanProcessorOption{sdktrace.WithBatchTimeout(time.Second), sdktrace.WithMaxQueueSize(maxWaiting),
	sdktrace.WithMaxExportBatchSize(512), sdktrace.WithExportTimeout(30 * time.Second)}

// A queue lets spans wait, as many as there is room for.
type queue struct {
	sdktrace.SpanProcessor
	waiting atomic.Int64
	tell    func(result string, n int)
}

// OnEnd is part of the SDK's SpanProcessor.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.waiting.Add(1) > maxWaiting {
		q.waiting.Add(-1)
		q.tell(resultDropped, 1)
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// A sender sends spans, and tells how that went: in the gate's log, sparingly, not in
// the SDK's global place. The SDK sends one batch at a time.
type sender struct {
	sdktrace.SpanExporter
	queue *queue
	tell  func(result string, n int)
	log   *slog.Logger
	scrub func(string) string // removes what was sent in headers; may be nil

	told    time.Time // of a failure, last
	failing bool      // as far as was told
	lost    int       // spans that were not told of
}

// Between two lines on failures, and how much of an error is in one, in bytes: it may
// have all that the collector answered.
const (
	toldEvery = time.Minute
	maxError  = 300
)

// ExportSpans is part of the SDK's SpanExporter.
func (s *sender) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := s.SpanExporter.ExportSpans(ctx, spans)
	s.queue.waiting.Add(-int64(len(spans)))
	if err == nil {
		s.tell(resultSent, len(spans))
		if s.failing {
			s.log.Info("traces are sent again", "dropped", s.lost)
			s.failing, s.lost = false, 0
		}
		return nil
	}
	s.tell(resultFailed, len(spans))
	if s.lost += len(spans); !s.told.IsZero() && time.Since(s.told) < toldEvery {
		return nil
	}
	text := err.Error()
	if s.scrub != nil {
		text = s.scrub(text)
	}
	s.log.Warn("traces not sent, they are dropped", "spans", s.lost, "err", strings.ToValidUTF8(text[:min(len(text), maxError)], ""))
	s.told, s.failing, s.lost = time.Now(), true, 0
	return nil
}
