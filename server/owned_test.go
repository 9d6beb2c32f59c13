package server_test

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/store"
)

// An upstream that is reached by one tenant's credential is that tenant's alone,
// whatever the others' policies say.
func TestOwnedUpstream(t *testing.T) {
	upstream := newTLSUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodGet {
			fmt.Fprint(w, `[{"name":"balance","inputSchema":{"type":"object"}}]`)
			return
		}
		fmt.Fprint(w, `{"balance":7}`)
	})
	// The store is there before the gate: a start finds what it needs.
	state := t.TempDir()
	t.Setenv("SANGATE_TEST_KEK", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	s, err := store.Open(t.Context(), state, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := credential.New(s, "env:SANGATE_TEST_KEK", slog.New(slog.DiscardHandler))
	if _, _, err := v.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Add(t.Context(), &credential.Secret{Name: "bank", Tenant: "acme", Type: credential.APIKey, Value: "hunter2"}, "", "test"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	g := servertest.Start(t, servertest.Options{Files: map[string]string{"up.crt": upstream.CA}, Config: func(yaml string) string {
		yaml = strings.Replace(yaml, "state: state", "state: "+state, 1)
		return strings.ReplaceAll(yaml, "    keys:", "    tools: {allow: [\"*\"]}\n    keys:") + fmt.Sprintf(
			"egress: {allow: [127.0.0.0/8]}\ncredentials: {kek: \"env:SANGATE_TEST_KEK\"}\nmcpServers: [{name: bank, baseUrl: %q, caFile: up.crt, credentialId: 1}]\n", upstream.URL)
	}})
	const builtins = "certificate_inspect echo gate_certificates whoami"
	wantListed(t, g, "acme", "balance "+builtins)
	wantListed(t, g, "globex", builtins)
	if status, body := callTool(t, g, "acme", "balance", `{}`); status != 200 || body != `{"balance":7}` {
		t.Errorf("its owner: %d %s", status, body)
	}
	if status, _ := callTool(t, g, "globex", "balance", `{}`); status != 404 {
		t.Errorf("another tenant: %d", status)
	}
}

// Secrets of a folder, and of a remote Credentials API: what is there by the time
// of a call is what is shown to the upstream, and nobody else sees it.
func TestOtherCredentials(t *testing.T) {
	t.Parallel()
	var shown atomic.Value // the Authorization header of the last call
	upstream := newTLSUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api/credentials/7":
			if r.Header.Get("Authorization") != "Bearer gate" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			fmt.Fprint(w, `{"credentialId":7,"type":"Basic","value":"bot:remote"}`)
		default:
			shown.Store(r.Header.Get("Authorization"))
			fmt.Fprintf(w, `{"auth":%q}`, r.Header.Get("Authorization"))
		}
	})
	called := func(g *servertest.Gate, tool, want string) {
		t.Helper()
		_, body := callTool(t, g, "acme", tool, `{}`)
		if got := shown.Swap(""); got != want || body != `{"auth":"[redacted]"}` {
			t.Errorf("%s: the upstream saw %q, want %q; the answer is %s", tool, got, want, body)
		}
	}
	secrets := t.TempDir()
	if err := os.WriteFile(filepath.Join(secrets, "5"), []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tool := func(id int) string {
		return fmt.Sprintf("    - {name: by_%d, description: d, credentialId: %[1]d, request: {url: %q}}\n", id, upstream.URL+"/x")
	}
	g := servertest.Start(t, servertest.Options{Files: map[string]string{"up.crt": upstream.CA, "token": "gate\n"}, Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {allow: [\"by_*\"]}\n    keys:", 1) + fmt.Sprintf(
			"egress: {allow: [127.0.0.0/8], caFile: up.crt}\ncredentials: {files: %s, remote: {url: %q, tokenFile: token}}\ntools:\n  http:\n%s", secrets, upstream.URL+"/api/credentials", tool(5)+tool(7)+tool(9))
	}})
	called(g, "by_5", "Bearer one")
	if err := os.WriteFile(filepath.Join(secrets, "5"), []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	called(g, "by_5", "Bearer two")
	called(g, "by_7", "Basic Ym90OnJlbW90ZQ==")
	if status, _ := callTool(t, g, "acme", "by_9", `{}`); status != 502 && status != 503 {
		t.Errorf("of nobody: %d", status)
	}
}
