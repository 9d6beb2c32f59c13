package tracing

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// Outward makes a span of what is asked of a server behind the gate, a child of
// that in ctx. end is called with what kind of failure it was, "" for none.
func Outward(ctx context.Context, name string, attrs ...attribute.KeyValue) (_ context.Context, end func(failure string)) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, func(string) {}
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	return ctx, func(failure string) {
		if failure != "" {
			Failed(span, failure)
		}
		span.End()
	}
}

// Upstream are the attributes of a call to an MCP server.
func Upstream(server, method, target string) []attribute.KeyValue {
	out := []attribute.KeyValue{attribute.String("sangate.upstream", server), semconv.McpMethodNameKey.String(method)}
	if method == "tools/call" {
		out = append(out, semconv.GenAIToolName(target), semconv.GenAIOperationNameExecuteTool)
	}
	return out
}

// HTTP are the attributes of a request to an HTTP API: nothing of its path or
// query, which may carry what is nobody's business.
func HTTP(r *http.Request) []attribute.KeyValue {
	return []attribute.KeyValue{semconv.HTTPRequestMethodKey.String(r.Method), semconv.ServerAddress(r.URL.Hostname())}
}

// Inject writes the context of the span in ctx into the headers of a request, where
// it is traced, and reports whether it is.
func Inject(ctx context.Context, header http.Header) bool {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return false
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
	return true
}

// Meta returns the context of the span in ctx as members of _meta; nil where it is
// not traced.
func Meta(ctx context.Context) map[string]any {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	out := make(map[string]any, len(carrier))
	for k, v := range carrier {
		out[k] = v
	}
	return out
}
