package upstream

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestPanicOverNotificationContained checks that a notification on which the SDK panics is dropped, and the session
// goes on.
//
// Holds: upstream/hostile-offer
func TestPanicOverNotificationContained(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, rest, ok := strings.Cut(string(body), `"id":`)
		if !ok || r.Method != http.MethodPost {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		id, result := rest[:strings.IndexAny(rest, ",}")], `{"content":[]}`
		if strings.Contains(string(body), `"initialize"`) {
			result = `{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}`
		}
		w.Header().Set("Content-Type", eventStream)
		fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/elicitation/complete\"}\n\n"+
			"data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s}\n\n", id, result)
	}))
	defer upstream.Close()
	var log strings.Builder
	s := &Server{log: slog.New(slog.NewTextHandler(&log, nil))}
	transport := &sdk.StreamableClientTransport{Endpoint: upstream.URL, DisableStandaloneSSE: true}
	l, err := s.session(t.Context(), transport, func() {})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := l.session.CallTool(t.Context(), &sdk.CallToolParams{Name: "t"}); err != nil {
			t.Error(err)
		}
	}
	l.close()
	if strings.Contains(log.String(), "nil pointer") {
		t.Error("the SDK has panicked")
	}
}
