// Package tracing makes OpenTelemetry spans of what the gate does and sends them to
// a collector (OTLP over HTTP), by the semantic conventions for the Model Context
// Protocol. Requests that are refused make none: they are in metrics, log and audit
// log, and nobody unknown fills the collector.
//
// Whether a request is traced is in its context. What is asked of others within it
// ([Outward], [Inject], [Meta]) looks there, and costs a look-up where it is not.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of the instrumentation.
const scope = "github.com/sangate/sangate"

// Options of a Tracer; Endpoint and Client are required.
type Options struct {
	Endpoint string            // of the collector, https://host:4318
	Headers  map[string]string // sent to it
	Client   *http.Client      // that reaches it
	Sample   float64           // what share of requests that no caller has decided on is traced, 0 to 1
	Version  string
	Logger   *slog.Logger
}

// A Tracer makes spans of requests and sends them, behind, until closed.
type Tracer struct {
	client   *http.Client
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// New makes a tracer. Nothing is sent yet, and it does not matter whether the
// collector is there: what it does not take is dropped.
func New(ctx context.Context, opts Options) (*Tracer, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(opts.Endpoint+"/v1/traces"), otlptracehttp.WithHeaders(opts.Headers),
		otlptracehttp.WithHTTPClient(opts.Client), otlptracehttp.WithTimeout(10*time.Second))
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(told{exporter, opts.Logger}, sdktrace.WithBatchTimeout(time.Second)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(opts.Sample))),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName("sangate"), semconv.ServiceVersion(opts.Version))),
	)
	return &Tracer{opts.Client, provider, provider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))}, nil
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

// short returns a text within the bound that holds nothing beyond it.
func short(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(strings.Clone(text[:maxText]), "")
}

// told is an exporter whose failures are in the gate's log, not in a global place.
type told struct {
	sdktrace.SpanExporter
	log *slog.Logger
}

func (t told) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := t.SpanExporter.ExportSpans(ctx, spans); err != nil {
		t.log.Warn("traces not sent, they are dropped", "spans", len(spans), "err", err)
	}
	return nil
}

// Close sends what there is, and ends.
func (t *Tracer) Close(ctx context.Context) error {
	defer t.client.CloseIdleConnections()
	return t.provider.Shutdown(ctx)
}

// A Request is one that a span is made of.
type Request struct {
	Name      string // of the span: few
	Began     time.Time
	Header    http.Header       // with the caller's context (W3C Trace Context)
	Meta      map[string]string // with the caller's context, in the place of Header's: of a message in a stream
	ID        string            // of the request
	Tenant    string
	Method    string // of the Model Context Protocol; "": another dialect
	Tool      string
	Prompt    string
	MessageID string // of JSON-RPC
	Revision  string
	HTTP      string // method
	Route     string
	Proto     string // version of HTTP
	Remote    string // address
}

// Begin makes the span of a request, in ctx from then on.
func (t *Tracer) Begin(ctx context.Context, r Request) (context.Context, trace.Span) {
	propagator := propagation.TraceContext{}
	parent := propagator.Extract(ctx, propagation.HeaderCarrier(r.Header))
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(r.Began)}
	if len(r.Meta) > 0 {
		// The message's own context counts; that of the transport is linked.
		ambient := trace.SpanContextFromContext(parent)
		parent = propagator.Extract(ctx, propagation.MapCarrier(r.Meta))
		if ambient.IsValid() && !ambient.Equal(trace.SpanContextFromContext(parent)) {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: ambient}))
		}
	}
	attrs := []attribute.KeyValue{attribute.String("sangate.request.id", r.ID), attribute.String("sangate.tenant", r.Tenant),
		semconv.NetworkTransportTCP, semconv.NetworkProtocolName("http"), semconv.NetworkProtocolVersion(r.Proto), semconv.ClientAddress(r.Remote)}
	text := func(key attribute.Key, value string) {
		if value != "" {
			attrs = append(attrs, key.String(short(value)))
		}
	}
	text(semconv.McpMethodNameKey, r.Method)
	text(semconv.McpProtocolVersionKey, r.Revision)
	text(semconv.JSONRPCRequestIDKey, r.MessageID)
	text(semconv.GenAIToolNameKey, r.Tool)
	text(semconv.GenAIPromptNameKey, r.Prompt)
	text(semconv.HTTPRequestMethodKey, r.HTTP)
	text(semconv.HTTPRouteKey, r.Route)
	if r.Tool != "" {
		attrs = append(attrs, semconv.GenAIOperationNameExecuteTool)
	}
	return t.tracer.Start(parent, short(r.Name), append(options, trace.WithAttributes(attrs...))...)
}

// Called notes on a span which tool was called, and what came of it: ok, or of what
// kind the failure is.
func Called(span trace.Span, tool, outcome string) {
	span.SetAttributes(semconv.GenAIToolName(tool), semconv.GenAIOperationNameExecuteTool)
	if outcome != "ok" {
		Failed(span, outcome)
	}
}

// Failed notes on a span of what kind a failure is; kind is one of few.
func Failed(span trace.Span, kind string) {
	span.SetStatus(codes.Error, kind)
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
}
