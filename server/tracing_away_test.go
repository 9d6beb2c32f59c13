package server_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// A collector that is away, and one that never answers, are told in the log, and hold
// up nobody: neither a request, nor the end of the gate, which leaves nothing behind.
// One on this machine is reached without egress.allow.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := gone.Addr().String()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	asked, never := make(chan struct{}, 10), make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-never:
		}
	}))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(never) })
	for _, tt := range []struct {
		name, collector string
		tried           func(log string) bool
		want            string
	}{
		{"away", "http://" + away, func(log string) bool { return strings.Contains(log, "traces not sent") }, "connection refused"},
		{"silent", silent.URL, func(string) bool { return len(asked) > 0 }, "the last traces are not sent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log safeLog
			g := servertest.Start(t, servertest.Options{Log: &log, Config: func(yaml string) string { return yaml + fmt.Sprintf("tracing: {endpoint: %q}\n", tt.collector) }})
			client := g.Client(g.Cert("acme"))
			get := func() {
				t.Helper()
				if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", jwtOf(g.Key("acme"))); res.StatusCode != http.StatusOK {
					t.Error(res.Status)
				}
			}
			get()
			if !servertest.WaitFor(func() bool { return tt.tried(log.String()) }, 20*time.Second) {
				t.Fatalf("nothing is sent:\n%s", log.String())
			}
			get()
			if tt.name == "away" && g.Metric("sangate_trace_spans_total", "result", "failed") == 0 {
				t.Error("it is not counted")
			}
			client.CloseIdleConnections()
			select {
			case <-g.Stop():
			case <-time.After(20 * time.Second): // a collector has two
				t.Error("the gate waits for the collector")
			}
			if !strings.Contains(log.String(), tt.want) {
				t.Errorf("nobody is told %q:\n%s", tt.want, log.String())
			}
		})
	}
}
