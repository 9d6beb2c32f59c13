package tracing

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent = "00f067aa0ba902b7"
)

// newTracer makes a tracer of which nothing is looked at.
func newTracer(t *testing.T, callers Callers, sample float64) *Tracer {
	t.Helper()
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	tracer, err := New(t.Context(), Options{Endpoint: sink.URL, Client: sink.Client(), Sample: sample, Callers: callers, Logger: slog.New(slog.DiscardHandler), Tell: func(string, int) {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tracer.Close(context.Background()); err != nil {
			t.Error(err)
		}
		sink.Close()
	})
	return tracer
}

func began(tr *Tracer, r Request) trace.Span {
	_, span := tr.Begin(context.Background(), r)
	span.End()
	return span
}

// A caller's word does not get it traced beyond the share, whatever id it makes up,
// unless it is trusted.
func TestCallers(t *testing.T) {
	for _, tt := range []struct {
		callers  Callers
		flags    string
		from, to int  // of 1000
		same     bool // trace
	}{
		{"", "01", 150, 350, true},
		{Sample, "01", 150, 350, true},
		{Sample, "00", 0, 0, true},
		{Trust, "01", 1000, 1000, true},
		{Trust, "00", 0, 0, true},
		{Link, "01", 150, 350, false},
		{Link, "00", 150, 350, false},
	} {
		t.Run(string(tt.callers)+tt.flags, func(t *testing.T) {
			tracer, sampled := newTracer(t, tt.callers, 0.25), 0
			for i := range 1000 {
				id := fmt.Sprintf("%016x0000000000000000", i+1) // that a ratio of ids would take
				span := began(tracer, Request{Header: http.Header{"Traceparent": {"00-" + id + "-" + parent + "-" + tt.flags}}})
				if (span.SpanContext().TraceID().String() == id) != tt.same {
					t.Fatalf("trace %s became %s", id, span.SpanContext().TraceID())
				}
				if s, ok := span.(sdktrace.ReadOnlySpan); ok {
					sampled++
					if links := s.Links(); !tt.same && (len(links) != 1 || links[0].SpanContext.TraceID().String() != id) {
						t.Fatalf("links %v", links)
					}
				}
			}
			if sampled < tt.from || sampled > tt.to {
				t.Errorf("%d of 1000 are traced, want %d to %d", sampled, tt.from, tt.to)
			}
		})
	}
}

// A message's own context comes first where it is one; a state beyond the bound is
// left out, and none goes to an API.
func TestContext(t *testing.T) {
	const ambient = "00-" + theirs + "-" + parent + "-01"
	const own = "4bf92f3577b34da6a3ce929d0e0e4737"
	tracer := newTracer(t, Trust, 0)
	for _, tt := range []struct {
		name  string
		meta  map[string]string
		state string // of the header
		trace string
		links int
		want  string // state
	}{
		{"header", nil, "a=1", theirs, 0, "a=1"},
		{"message", map[string]string{"traceparent": "00-" + own + "-" + parent + "-01", "tracestate": "b=2"}, "a=1", own, 1, "b=2"},
		{"the same", map[string]string{"traceparent": ambient}, "", theirs, 0, ""},
		{"a message with nothing but a state", map[string]string{"tracestate": "b=2"}, "a=1", theirs, 0, "a=1"},
		{"a message with none that is valid", map[string]string{"traceparent": "00-0-0-01"}, "a=1", theirs, 0, "a=1"},
		{"a state at the bound", nil, state(512), theirs, 0, state(512)},
		{"a state beyond it", nil, state(513), theirs, 0, ""},
		{"a message with one beyond it", map[string]string{"traceparent": "00-" + own + "-" + parent + "-01", "tracestate": state(8 << 10)}, "", own, 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := http.Header{"Traceparent": {ambient}, "Tracestate": {tt.state}}
			ctx, span := tracer.Begin(context.Background(), Request{Header: header, Meta: tt.meta})
			span.End()
			s := span.(sdktrace.ReadOnlySpan)
			if got := s.SpanContext(); got.TraceID().String() != tt.trace || got.TraceState().String() != tt.want || len(s.Links()) != tt.links {
				t.Errorf("trace %s, state %q, links %v", got.TraceID(), got.TraceState(), s.Links())
			}
			upstream, api := http.Header{}, http.Header{}
			Inject(ctx, upstream)
			InjectParent(ctx, api)
			if got := upstream.Get("Tracestate"); got != tt.want {
				t.Errorf("an upstream is told %q", got)
			}
			if len(api) != 1 || !strings.Contains(api.Get("Traceparent"), tt.trace) {
				t.Errorf("an API is told %v", api)
			}
		})
	}
}

// state is one of that length.
func state(n int) string {
	var b strings.Builder
	for i := 0; b.Len()+200 < n; i++ {
		fmt.Fprintf(&b, "k%d=%s,", i, strings.Repeat("v", 100))
	}
	fmt.Fprintf(&b, "z=%s", strings.Repeat("v", n-b.Len()-2))
	return b.String()
}
