// Package tracing makes OpenTelemetry spans of what the gate does and sends them to
// a collector (OTLP over HTTP), by the semantic conventions for the Model Context
// Protocol. Requests that are not admitted make none: they are in metrics, log and
// audit log, and nobody unknown fills the collector.
//
// Whether a request is traced is in its context. What is asked of others within it
// ([Outward], [Inject], [Meta]) looks there, and costs a look-up where it is not.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of the instrumentation.
const scope = "github.com/sangate/sangate"

// tracer is the one of this instrumentation.
func tracer(p trace.TracerProvider) trace.Tracer {
	return p.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
}

// Options of a Tracer; all but Headers and Callers must be set.
type Options struct {
	Endpoint string            // of the collector, https://host:4318
	Headers  map[string]string // sent to it
	Client   *http.Client      // that reaches it, and does not wait for ever
	Sample   float64           // what share of traces, 0 to 1
	Callers  Callers           // what they decide
	Version  string
	Logger   *slog.Logger

	// Scrub removes the secrets in Headers from a text; nil: nothing.
	Scrub func(string) string

	// Tell hears what became of how many spans: one of [Results].
	Tell func(result string, n int)
}

// A Tracer makes spans of requests and sends them, behind, until closed.
type Tracer struct {
	client   *http.Client
	exporter sdktrace.SpanExporter
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	callers  Callers
}

// New makes a tracer. Nothing is sent yet, and it does not matter whether the
// collector is there: what it does not take is dropped.
func New(ctx context.Context, opts Options) (*Tracer, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(strings.TrimRight(opts.Endpoint, "/")+"/v1/traces"), otlptracehttp.WithHeaders(opts.Headers),
		otlptracehttp.WithHTTPClient(opts.Client))
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	waiting := &queue{tell: opts.Tell}
	waiting.SpanProcessor = sdktrace.NewBatchSpanProcessor(&sender{SpanExporter: exporter, queue: waiting, tell: opts.Tell, log: opts.Logger, scrub: opts.Scrub}, batching...)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(waiting),
		sdktrace.WithSampler(samplerOf(opts.Callers, opts.Sample)),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName("sangate"), semconv.ServiceVersion(opts.Version))),
	)
	return &Tracer{opts.Client, exporter, provider, tracer(provider), opts.Callers}, nil
}

// maxText bounds a text in a span, in bytes: thousands of spans may wait for a
// collector that is slow.
const maxText = 256

// limits are the SDK's own, but for the length of a text. What the SDK cuts off it
// goes on holding, so texts are cut before; this is for what comes another way.
var limits = sdktrace.SpanLimits{
	AttributeValueLengthLimit:   maxText,
	AttributeCountLimit:         sdktrace.DefaultAttributeCountLimit,
	EventCountLimit:             sdktrace.DefaultEventCountLimit,
	LinkCountLimit:              sdktrace.DefaultLinkCountLimit,
	AttributePerEventCountLimit: sdktrace.DefaultAttributePerEventCountLimit,
	AttributePerLinkCountLimit:  sdktrace.DefaultAttributePerLinkCountLimit,
}

// Close sends what there is until ctx ends, and what is left no longer. Nothing is left
// running.
func (t *Tracer) Close(ctx context.Context) error {
	defer t.client.CloseIdleConnections()
	// The SDK would leave its goroutines to themselves when ctx ends. Without the
	// exporter they have nothing to wait for.
	stop := context.AfterFunc(ctx, func() { _ = t.exporter.Shutdown(context.Background()) })
	defer stop()
	return errors.Join(t.provider.Shutdown(context.WithoutCancel(ctx)), ctx.Err())
}
