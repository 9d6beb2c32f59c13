package upstream

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestRefusedCallKeepsSession checks which answers reach the SDK as errors of one call: for others it ends the session.
//
// Holds: upstream/answer-of-one-call
func TestRefusedCallKeepsSession(t *testing.T) {
	const refused = `{"jsonrpc":"2.0","id":3,"error":{"code":-32603,"message":"the answer was not read: it answered 403"}}`
	const said = `{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"no"}}`
	for name, c := range map[string]struct {
		method       string
		status       int
		body         string
		want         int
		wantBody     string
		wantLookedAt bool
	}{
		"a firewall's":    {"tools/call", 403, "<html>", 200, refused, true},
		"other JSON":      {"resources/read", 403, `{"error":"no"}`, 200, refused, true},
		"no body":         {"prompts/get", 403, "", 200, refused, true},
		"said":            {"tools/call", 403, said, 403, said, false},
		"of the session":  {"tools/call", 404, "x", 404, "x", false},
		"of the protocol": {"initialize", 400, "x", 400, "x", false},
		"a good one":      {"tools/call", 200, "x", 200, "x", false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x.example",
			strings.NewReader(`{"jsonrpc":"2.0","id":3,"method":"`+c.method+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		woken := false
		i := newInbound(nil)
		i.wake = func() { woken = true }
		res, err := kept{roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: c.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(c.body))}, nil
		}), i}.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != c.want || string(body) != c.wantBody || woken != c.wantLookedAt {
			t.Errorf("%s: %v %d %s, looked at: %v", name, err, res.StatusCode, body, woken)
		}
	}
}
