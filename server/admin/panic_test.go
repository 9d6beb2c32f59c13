package admin_test

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/admin"
)

// A panic is told with its stack, and ends the answer.
func TestPanic(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := admin.NewListener(l, time.Now, admin.Bounds{})
	t.Cleanup(func() { _ = listener.Close() })
	var log bytes.Buffer
	h := admin.Handler(admin.Options{Metrics: admin.NewMetrics("", ""), Listener: listener, Turns: admin.NewTurns(), Log: slog.New(slog.NewJSONHandler(&log, nil)),
		Alive: func() error { panic("it is broken") }, Hosts: func() []string { return nil }, Console: http.NotFoundHandler()})
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("it panics with %v", p)
		}
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"level":"ERROR"`) || !strings.Contains(got, "it is broken") || !strings.Contains(got, "admin_test.TestPanic") {
			t.Errorf("told %s", got)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://127.0.0.1/healthz", nil))
	t.Error("it answers")
}
