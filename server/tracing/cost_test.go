package tracing

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Where nothing is traced it costs nothing.
func TestOffCostsNothing(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "a request's")
	r := httptest.NewRequest(http.MethodGet, "https://api.example/path", nil)
	for name, do := range map[string]func(){
		"a call of an upstream": func() {
			_, asked := Outward(ctx, Call{Server: "s", URL: "https://up.example/mcp", Method: "tools/call", Target: "echo"})
			asked.Code(-32602)
			asked.End("upstream_error")
		},
		"a request to an API": func() {
			_, asked := OutwardHTTP(ctx, r)
			asked.Status(http.StatusOK)
			asked.End("")
		},
		"a context to pass on": func() {
			if Inject(ctx, r.Header); On(ctx) || Meta(ctx) != nil {
				t.Error("there is one")
			}
		},
		"a failure": func() { Failed(ctx, "not_found"); Answered(ctx, -32602) },
	} {
		if n := testing.AllocsPerRun(100, do); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
