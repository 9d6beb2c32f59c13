package tracing

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// An Asked is the span of what is asked of a server behind the gate, a child of the
// request's. The zero value is one that is not traced.
type Asked struct{ span trace.Span }

// A Call is one of an MCP server.
type Call struct {
	Server string // its name here
	URL    string // its address; "": a command
	Method string
	Target string // the tool or prompt, as the server has it, or ""
}

// Outward begins the span of a call, in ctx from then on.
func Outward(ctx context.Context, c Call) (context.Context, Asked) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Asked{}
	}
	attrs := []attribute.KeyValue{attribute.String("sangate.upstream", c.Server), semconv.McpMethodNameKey.String(c.Method)}
	switch c.Method {
	case "tools/call":
		attrs = append(attrs, semconv.GenAIToolName(short(c.Target)), semconv.GenAIOperationNameExecuteTool)
	case "prompts/get":
		attrs = append(attrs, semconv.GenAIPromptName(short(c.Target)))
	}
	if u, err := url.Parse(c.URL); err == nil {
		attrs = append(attrs, address(u)...)
	}
	return begin(ctx, parent, short(strings.TrimSpace(c.Method+" "+c.Target)), attrs)
}

// OutwardHTTP begins the span of a request to an HTTP API, in ctx from then on. It has
// nothing of the path or query, which may carry what is nobody's business.
func OutwardHTTP(ctx context.Context, r *http.Request) (context.Context, Asked) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Asked{}
	}
	return begin(ctx, parent, r.Method, append(address(r.URL), semconv.HTTPRequestMethodKey.String(r.Method)))
}

func begin(ctx context.Context, parent trace.Span, name string, attrs []attribute.KeyValue) (context.Context, Asked) {
	ctx, span := tracer(parent.TracerProvider()).Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	return ctx, Asked{span}
}

// address is where a server stands.
func address(u *url.URL) []attribute.KeyValue {
	if u.Host == "" {
		return nil
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		port = map[string]int{"http": 80, "https": 443}[u.Scheme]
	}
	return []attribute.KeyValue{semconv.ServerAddress(short(u.Hostname())), semconv.ServerPort(port)}
}

// Code notes the code of JSON-RPC that the server answered with.
func (a Asked) Code(code int64) {
	if a.span != nil {
		a.span.SetAttributes(semconv.RPCResponseStatusCode(strconv.FormatInt(code, 10)))
	}
}

// Status notes the status that the server answered with.
func (a Asked) Status(status int) {
	if a.span != nil {
		a.span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	}
}

// End ends the span; failure is of what kind one was, one of few, "" for none.
func (a Asked) End(failure string) {
	if a.span == nil {
		return
	}
	if failure != "" {
		failed(a.span, failure)
	}
	a.span.End()
}

// On reports whether there is a context of a trace to pass on.
func On(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsValid() }

// Inject writes the context of the span in ctx into the headers of a request, where
// it is traced.
func Inject(ctx context.Context, header http.Header) {
	if On(ctx) {
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
	}
}

// InjectParent is [Inject] for whoever is no part of the caller's trace: what callers
// say to each other beside (tracestate) is left out.
func InjectParent(ctx context.Context, header http.Header) {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		Inject(trace.ContextWithSpanContext(ctx, span.WithTraceState(trace.TraceState{})), header)
	}
}

// Meta returns the context of the span in ctx as members of _meta; nil where it is
// not traced.
func Meta(ctx context.Context) map[string]any {
	if !On(ctx) {
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
