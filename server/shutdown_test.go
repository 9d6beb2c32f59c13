package server_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// TestShutdownDoesNotWaitForTools checks that the server ends although a tool ignores
// that its context has ended, over either version of HTTP.
//
// Holds: anyone/shutdown-bounded
func TestShutdownDoesNotWaitForTools(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]servertest.ClientOption{"HTTP/1.1": {servertest.HTTP1}, "HTTP/2": nil} {
		t.Run(name, func(t *testing.T) {
			began, release := make(chan struct{}), make(chan struct{})
			stuck := &tool.Tool{Name: "stuck", Builtin: true, InputSchema: json.RawMessage(`{"type":"object"}`),
				Handler: func(context.Context, *tool.Call) (*tool.Result, error) {
					close(began)
					<-release
					return tool.Text("late"), nil
				}}
			g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{stuck},
				Config: func(yaml string) string { return yaml + "\nlimits: {drainTimeout: 200ms}\n" }})
			client, answered := g.Client(g.Cert("acme"), opts...), make(chan struct{})
			t.Cleanup(func() { <-answered })
			go func() {
				defer close(answered)
				r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/tool/stuck/call", http.NoBody)
				r.Header.Set("Authorization", "Bearer "+g.Key("acme"))
				if res, err := client.Do(r); err == nil {
					_ = res.Body.Close()
				}
			}()
			<-began
			select {
			case <-g.Stop():
			case <-time.After(30 * time.Second):
				t.Error("the server waits for a tool that ignores its context")
			}
			close(release)
		})
	}
}

// A gate that is told to end takes no new connection, lets calls that run come
// to their end, and cuts off those that do not.
func TestDrain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, limits string
		released     bool
	}{
		{"in time", "drainTimeout: 20s", true},
		{"cut off", "drainTimeout: 300ms", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wait, began, release := waiting(t)
			var running atomic.Int64
			handler := wait.Handler
			wait.Handler = func(ctx context.Context, call *tool.Call) (*tool.Result, error) {
				running.Add(1)
				defer running.Add(-1)
				res, err := handler(ctx, call)
				if err != nil {
					time.Sleep(100 * time.Millisecond) // it has to tidy up
				}
				return res, err
			}
			g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{wait}, Config: func(yaml string) string { return yaml + "limits: {" + tc.limits + "}\n" }})
			token := "Authorization: Bearer " + g.Key("acme")
			var ends []<-chan outcome
			for _, opts := range [][]servertest.ClientOption{{servertest.HTTP1}, nil} {
				ends = append(ends, start(t, g.Client(g.Cert("acme"), opts...), g.URL+"/tool/wait/call", "{}", token))
			}
			<-began
			<-began
			idle := dialWire(t, g, g.Cert("acme"))
			idle.send(request("GET /health"))
			if res := idle.answer(t); res == nil || res.StatusCode != 200 {
				t.Fatalf("GET /health = %v", res)
			}
			stopped := g.Stop()
			if !servertest.WaitFor(func() bool {
				conn, err := net.Dial("tcp", g.Addr)
				if err == nil {
					_ = conn.Close()
				}
				return err != nil
			}, 5*time.Second) {
				t.Error("a draining gate takes new connections")
			}
			if tc.released {
				select {
				case <-stopped:
					t.Error("the gate did not wait for its calls")
				default:
				}
				close(release)
			}
			for _, end := range ends {
				if o := <-end; (o.err == nil && o.res.StatusCode == 200) != tc.released {
					t.Errorf("the call ended with %+v", o)
				}
			}
			<-stopped
			if n := running.Load(); n != 0 {
				t.Errorf("Run returned while %d calls were running", n)
			}
			if idle.answer(t) != nil {
				t.Error("an idle connection was left open")
			}
		})
	}
}
