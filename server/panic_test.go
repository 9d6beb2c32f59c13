package server_test

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// A panic in the answering of a request is told with its id and stack, to the operator
// alone; the gate goes on.
func TestPanic(t *testing.T) {
	t.Parallel()
	var log safeLog
	var broken atomic.Bool
	g := servertest.Start(t, servertest.Options{Log: &log, Now: func() time.Time {
		if broken.Load() && within("server.(*Server).ServeHTTP") {
			panic("it is broken")
		}
		return time.Now()
	}})
	for name, opts := range map[string][]servertest.ClientOption{"HTTP/1.1": {servertest.HTTP1}, "HTTP/2": nil} {
		t.Run(name, func(t *testing.T) {
			client := g.Client(g.Cert("acme"), opts...)
			get := func() (*http.Response, error) {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/tool/echo/call", strings.NewReader(`{"message":"m"}`))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+g.Key("acme"))
				return client.Do(r)
			}
			before := len(log.String())
			broken.Store(true)
			res, err := get()
			broken.Store(false)
			if err == nil {
				t.Errorf("it is answered with %s %s", res.Status, bodyOf(res))
			}
			var found int
			for line := range strings.Lines(log.String()[before:]) {
				var said struct{ Level, Msg, RequestID, Panic, Stack string }
				if err := json.Unmarshal([]byte(line), &said); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(line, "it is broken") {
					continue
				}
				if found++; said.Level != "ERROR" || len(said.RequestID) != 26 || said.Panic != "it is broken" || !strings.Contains(said.Stack, "server.(*Server).ServeHTTP") {
					t.Errorf("told %s", line)
				}
			}
			if found != 1 {
				t.Errorf("told %d times:\n%s", found, log.String()[before:])
			}
			if res, err := get(); err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("the next one: %v, %v", res, err)
			} else {
				_ = bodyOf(res)
			}
		})
	}
}

// within reports whether a function is being run.
func within(function string) bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for frame, more := frames.Next(); more; frame, more = frames.Next() {
		if strings.HasSuffix(frame.Function, function) {
			return true
		}
	}
	return false
}
