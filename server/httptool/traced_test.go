package httptool_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/tool"
)

// The span of a request to an API ends when its answer has been read.
func TestTraced(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cut":
			w.Header().Set("Content-Length", "1000")
		case "/no":
			w.WriteHeader(http.StatusTeapot)
		}
		fmt.Fprint(w, `{}`)
	}))
	t.Cleanup(api.Close)
	for path, want := range map[string]struct{ kind, status string }{"/": {"", "200"}, "/no": {"418", "418"}, "/cut": {"unreadable", "200"}} {
		made := made(t, httptool.Definition{Request: httptool.Request{Method: http.MethodPost, URL: api.URL + path}}, nil)
		spans := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
		ctx, span := provider.Tracer("test").Start(t.Context(), "request")
		_, _ = made.Call(ctx, &tool.Call{Arguments: []byte(`{}`)})
		span.End()
		sent := spans.GetSpans()[0]
		have := map[attribute.Key]string{}
		for _, a := range sent.Attributes {
			have[a.Key] = a.Value.String()
		}
		if have["error.type"] != want.kind || have["http.response.status_code"] != want.status || have["server.port"] == "" {
			t.Errorf("%s: %v, want %v", path, have, want)
		}
	}
}
