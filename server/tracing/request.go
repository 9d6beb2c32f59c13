package tracing

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

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
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(r.Began)}
	ctx, links := t.from(ctx, r)
	if len(links) > 0 {
		options = append(options, trace.WithLinks(links...))
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
	return t.tracer.Start(ctx, short(r.Name), append(options, trace.WithAttributes(attrs...))...)
}

// Called notes on a span which tool was called, and what came of it: ok, or of what
// kind the failure is.
func Called(span trace.Span, tool, outcome string) {
	span.SetAttributes(semconv.GenAIToolName(tool), semconv.GenAIOperationNameExecuteTool)
	if outcome != "ok" {
		failed(span, outcome)
	}
}

// Failed notes of what kind the failure of the request in ctx is, where it is traced:
// one of few. The first counts; what follows is how the client was told.
func Failed(ctx context.Context, kind string) { failed(trace.SpanFromContext(ctx), kind) }

// Answered notes that the request in ctx was answered with an error of JSON-RPC.
func Answered(ctx context.Context, code int64) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		text := strconv.FormatInt(code, 10)
		span.SetAttributes(semconv.RPCResponseStatusCode(text))
		failed(span, text)
	}
}

// Status notes the status that the request in ctx was answered with.
func Status(ctx context.Context, status int) {
	trace.SpanFromContext(ctx).SetAttributes(semconv.HTTPResponseStatusCode(status))
}

func failed(span trace.Span, kind string) {
	if s, ok := span.(sdktrace.ReadOnlySpan); ok && s.Status().Code != codes.Error {
		span.SetStatus(codes.Error, kind)
		span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	}
}

// short returns a text within the bound that holds nothing beyond it.
func short(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(strings.Clone(text[:maxText]), "")
}
