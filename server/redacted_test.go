package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// TestInterpolatedValuesHidden checks that neither /readyz, the console nor the log show
// a value of the environment, or a part of it, that a reload fails with.
//
// Holds: operator/interpolated-values-hidden
func TestInterpolatedValuesHidden(t *testing.T) {
	t.Setenv("API_TOKEN", "hunter2secret/zz9zz")
	for name, edit := range map[string]func(yaml string) string{
		"expression": func(yaml string) string {
			return yaml + "tools: {http: [{name: a, description: d, request: {url: 'https://a.example/x'}, response: '${API_TOKEN} +'}]}\n"
		},
		"audit file": func(yaml string) string { return yaml + "audit: {file: '/proc/none/${API_TOKEN}/x'}\n" },
		"admin key":  func(yaml string) string { return yaml + "adminTLS: {cert: '${API_TOKEN}', key: '${API_TOKEN}'}\n" },
		"document": func(yaml string) string {
			return yaml + "tools: {openapi: [{name: d, document: '${API_TOKEN}', operations: ['*']}]}\n"
		},
		"upstream": func(yaml string) string { return yaml + "mcpServers: [{name: u, command: ['/none/${API_TOKEN}/x']}]\n" },
	} {
		t.Run(name, func(t *testing.T) {
			var log safeLog
			g := servertest.Start(t, servertest.Options{Log: &log, Config: func(yaml string) string { return yaml + "# the end\n" }})
			before := log.String()
			text, err := os.ReadFile(filepath.Join(g.Dir, "sangate.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			g.Write("sangate.yaml", []byte(edit(string(text))))
			said := func() string { return strings.TrimPrefix(log.String(), before) }
			if !servertest.WaitFor(func() bool { return strings.Contains(said(), `"level":"ERROR"`) }, 10*time.Second) {
				t.Errorf("no error is logged: %s", said())
			}
			shown := said()
			for _, path := range []string{"/readyz", "/", "/upstreams", "/documents"} {
				_, body := adminGet(t, g, http.MethodGet, path, "")
				shown += body
			}
			for _, part := range []string{"hunter", "secret", "zz9zz"} {
				if i := strings.Index(shown, part); i >= 0 {
					t.Errorf("%q shows: …%s…", part, shown[max(0, i-200):min(len(shown), i+100)])
				}
			}
		})
	}
}
