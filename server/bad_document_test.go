package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// documentOf is an OpenAPI document with one operation.
func documentOf(id string) string {
	return fmt.Sprintf(`{"openapi":"3.0.3","info":{"title":"x","version":"1"},"servers":[{"url":"https://a.example"}],"paths":{"/a":{"get":{"operationId":%q,"responses":{}}}}}`, id)
}

// badDocuments are those that once ended the process, stopped every reload, or are no
// documents.
func badDocuments() map[string]string {
	const head = `{"openapi":"3.0.3","info":{"title":"x","version":"1"},"paths":{},"components":{"schemas":`
	return map[string]string{
		"circle":    head + `{"a":{"$ref":"#/components/schemas/b"},"b":{"$ref":"#/components/schemas/a"}}}}`,
		"deep":      head + strings.Repeat(`{"a":`, 3_000) + "{}" + strings.Repeat("}", 3_000) + "}}",
		"too large": head + `{"a":{"title":"` + strings.Repeat("x", 33<<20) + `"}}}}`,
		"many":      head + `{"a":{"enum":[` + strings.Repeat("0,", 600_000) + `0]}}}}`,
		"no YAML":   "[",
		"no paths":  "openapi: 3.0.3",
	}
}

// checkDocument waits until a document's state is shown everywhere, with this problem.
func checkDocument(t *testing.T, g *servertest.Gate, up float64, readyz, console string) {
	t.Helper()
	var status int
	var ready, page, front string
	if !servertest.WaitFor(func() bool {
		status, ready = adminGet(t, g, http.MethodGet, "/readyz", "")
		_, page = adminGet(t, g, http.MethodGet, "/documents", "")
		_, front = adminGet(t, g, http.MethodGet, "/", "")
		alert := strings.Contains(front, `href="/documents#d-doc"`)
		return status == 200 && strings.Contains(ready, readyz) && strings.Contains(page, console) && alert == (up == 0) &&
			g.Metric("sangate_openapi_document_up", "name", "doc") == up
	}, 20*time.Second) {
		t.Errorf("want up %v, %q in /readyz and %q on the console; /readyz: %d %s\nconsole: %.2000s", up, readyz, console, status, ready, page)
	}
}

func withDocument(document, allow string) func(yaml string) string {
	return func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {allow: ["+allow+"]}\n    keys:", 1) +
			fmt.Sprintf("tools: {openapi: [{name: doc, document: %q, operations: ['*']}, {name: other, document: other.json, operations: ['*']}]}\n", document)
	}
}

// TestBadDocumentAtStart checks that a server starts without the tools of a bad
// document, shows it, and serves them once it is good.
//
// Holds: document/openapi-contained
func TestBadDocumentAtStart(t *testing.T) {
	t.Parallel()
	for name, text := range badDocuments() {
		t.Run(name, func(t *testing.T) {
			var log safeLog
			g := servertest.Start(t, servertest.Options{Log: &log, Config: withDocument("doc.json", "a, b"),
				Files: map[string]string{"doc.json": text, "other.json": documentOf("b")}})
			if got := listed(t, g, "acme"); got != "b" {
				t.Errorf("tools %q, want those of the good document", got)
			}
			checkDocument(t, g, 0, "OpenAPI document doc not imported, its tools are left out", "not imported, left out")
			if !strings.Contains(log.String(), "OpenAPI document not imported; its tools are left out") {
				t.Error("the log does not say so")
			}
			g.Write("doc.json", []byte(documentOf("a")))
			if !servertest.WaitFor(func() bool { return listed(t, g, "acme") == "a b" }, 20*time.Second) {
				t.Errorf("mended: tools %q", listed(t, g, "acme"))
			}
			checkDocument(t, g, 1, `"documents":"ok"`, "imported")
		})
	}
}

// TestBadDocumentAtReload checks that a document that turns bad stops no reload, and
// that the tools of its last good copy go on, under other options, too.
//
// Holds: document/openapi-contained
func TestBadDocumentAtReload(t *testing.T) {
	t.Parallel()
	for name, text := range badDocuments() {
		t.Run(name, func(t *testing.T) {
			var log safeLog
			g := servertest.Start(t, servertest.Options{Log: &log, Config: withDocument("doc.json", "a, x_a, b"),
				Files: map[string]string{"doc.json": documentOf("a"), "other.json": documentOf("b")}})
			if got := listed(t, g, "acme"); got != "a b" {
				t.Fatalf("tools %q", got)
			}
			g.Write("doc.json", []byte(text))
			checkDocument(t, g, 0, "OpenAPI document doc not imported, the 1 tools of its last good copy are kept", "last good copy kept")
			g.Configure(func(yaml string) string { return strings.Replace(yaml, "allow: [a, x_a, b]", "allow: [a, x_a]", 1) })
			if got := listed(t, g, "acme"); got != "a" {
				t.Errorf("after a reload: tools %q, want a", got)
			}
			g.Configure(func(yaml string) string { return strings.Replace(yaml, "{name: doc,", "{name: doc, prefix: x_,", 1) })
			if got := listed(t, g, "acme"); got != "x_a" {
				t.Errorf("under other options: tools %q, want x_a", got)
			}
			if !strings.Contains(log.String(), "keeping the tools of its last good copy") {
				t.Error("the log does not say so")
			}
		})
	}
}

// A document that cannot be fetched keeps nothing from starting, and what another
// address had under its name does not stand in for it.
//
// Holds: document/openapi-contained
func TestBadRemoteDocument(t *testing.T) {
	t.Parallel()
	var answer atomic.Pointer[string]
	upstream := newTLSUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if text := answer.Load(); text != nil && r.URL.Path == "/a.json" {
			_, _ = w.Write([]byte(*text))
			return
		}
		w.WriteHeader(http.StatusNotFound)
	})
	edit := withDocument(upstream.URL+"/a.json?key=hunter2", "a, b")
	g := servertest.Start(t, servertest.Options{Files: map[string]string{"up.crt": upstream.CA, "other.json": documentOf("b")},
		Config: func(yaml string) string { return edit(yaml) + "egress: {allow: [127.0.0.0/8], caFile: up.crt}\n" }})
	if got := listed(t, g, "acme"); got != "b" {
		t.Errorf("tools %q, want b", got)
	}
	checkDocument(t, g, 0, "answered 404", "answered 404")
	if _, ready := adminGet(t, g, http.MethodGet, "/readyz", ""); strings.Contains(ready, "hunter2") {
		t.Errorf("/readyz shows the query: %s", ready)
	}
	good := documentOf("a")
	answer.Store(&good)
	g.Server.Reload()
	if !servertest.WaitFor(func() bool { return listed(t, g, "acme") == "a b" }, 20*time.Second) {
		t.Errorf("fetched: tools %q", listed(t, g, "acme"))
	}
	kept, err := filepath.Glob(filepath.Join(g.Dir, "state", "openapi-doc-*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept: %v, %v", kept, err)
	}
	if text, err := os.ReadFile(kept[0]); err != nil || string(text) != good {
		t.Errorf("kept %s, %v", text, err)
	}
	g.Configure(func(yaml string) string { return strings.Replace(yaml, "/a.json", "/b.json", 1) })
	if got := listed(t, g, "acme"); got != "b" {
		t.Errorf("another address: tools %q, want b", got)
	}
}
