package tracing

import (
	"context"
	"hash/maphash"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Callers says what the context that callers send decides.
type Callers string

const (
	Sample Callers = "sample" // in which trace a request is, and that it is not traced; the share stands. "" is the same
	Trust  Callers = "trust"  // whether it is traced, too
	Link   Callers = "link"   // nothing: it begins a trace of its own, with a link
)

// from puts the context that a request came with into ctx, and returns what is linked.
func (t *Tracer) from(ctx context.Context, r Request) (context.Context, []trace.Link) {
	caller, ambient := extract(propagation.MapCarrier(r.Meta)), extract(propagation.HeaderCarrier(r.Header))
	var links []trace.Link
	switch {
	case !caller.IsValid():
		caller = ambient
	case ambient.IsValid() && !ambient.Equal(caller):
		// The message's own context counts; that of the transport is linked.
		links = append(links, trace.Link{SpanContext: ambient})
	}
	switch {
	case !caller.IsValid():
	case t.callers == Link:
		links = append(links, trace.Link{SpanContext: caller})
	default:
		ctx = trace.ContextWithRemoteSpanContext(ctx, caller)
	}
	return ctx, links
}

func extract(from propagation.TextMapCarrier) trace.SpanContext {
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), bounded{from}))
}

// bounded leaves out what is longer than everybody has to pass on (W3C Trace Context,
// 3.3.1.5): it goes on to upstreams, and waits with the span for the collector.
type bounded struct{ propagation.TextMapCarrier }

func (b bounded) Get(key string) string {
	if value := b.TextMapCarrier.Get(key); len(value) <= 512 {
		return strings.Clone(value) // of a head, maybe
	}
	return ""
}

// samplerOf decides which requests are traced. Of a trace it is all of them.
func samplerOf(callers Callers, share float64) sdktrace.Sampler {
	s := sampler{maphash.MakeSeed(), uint64(share * (1 << 63))}
	if callers == Trust {
		return sdktrace.ParentBased(s)
	}
	return sdktrace.ParentBased(s, sdktrace.WithRemoteParentSampled(s))
}

// A sampler takes a share of the traces, by a hash of their ids that no other process
// knows: callers make ids up, and would find those that the SDK's own takes.
type sampler struct {
	seed  maphash.Seed
	below uint64
}

// ShouldSample is part of the SDK's Sampler.
func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	out := sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
	if maphash.Comparable(s.seed, p.TraceID)>>1 < s.below {
		out.Decision = sdktrace.RecordAndSample
	}
	return out
}

// Description is part of the SDK's Sampler.
func (sampler) Description() string { return "share of traces" }
