package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sangate/sangate/server/servertest"
)

// A document that is fetched is kept: where it is gone at the next start, or is no
// longer one, the tools are there all the same.
func TestFetchedDocument(t *testing.T) {
	t.Parallel()
	var gone atomic.Bool
	upstream := newTLSUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"openapi":"3.0.3","info":{"title":"x","version":"1"},"servers":[{"url":"https://%s"}],"paths":{"/a":{"get":{"operationId":"a","responses":{}}}}}`, r.Host)
	})
	state := t.TempDir()
	start := func(log *safeLog) *servertest.Gate {
		return servertest.Start(t, servertest.Options{Log: log, Files: map[string]string{"up.crt": upstream.CA}, Config: func(yaml string) string {
			yaml = strings.Replace(yaml, "state: state", "state: "+state, 1)
			return strings.Replace(yaml, "    keys:", "    tools: {allow: [a]}\n    keys:", 1) + fmt.Sprintf(
				"egress: {allow: [127.0.0.0/8], caFile: up.crt}\ntools: {openapi: [{name: doc, document: %q, operations: [a]}]}\n", upstream.URL+"/openapi.json")
		}})
	}
	var log safeLog
	g := start(&log)
	if got := listed(t, g, "acme"); got != "a" {
		t.Errorf("fetched: %q", got)
	}
	<-g.Stop()
	gone.Store(true)
	if got := listed(t, start(&log), "acme"); got != "a" {
		t.Errorf("kept: %q", got)
	}
	if !strings.Contains(log.String(), "keeping the tools of its last good copy") {
		t.Error("the log does not say so")
	}
}
