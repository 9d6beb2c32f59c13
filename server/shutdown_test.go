package server_test

import (
	"context"
	"encoding/json"
	"net/http"
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
