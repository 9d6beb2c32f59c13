package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/servertest"
)

// audited reads the lines of an audit log; each must be JSON and hold none of
// the secrets.
func audited(t *testing.T, file string, secrets ...string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		if strings.Contains(string(data), s) {
			t.Errorf("the audit log holds %.20q…", s)
		}
	}
	var out []map[string]any
	for line := range strings.Lines(string(data)) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		out = append(out, r)
	}
	return out
}

// wantRecord finds one record with all these values.
func wantRecord(t *testing.T, file string, want map[string]any) map[string]any {
	t.Helper()
	var all []map[string]any
	var found map[string]any
	ok := servertest.WaitFor(func() bool {
		all, found = audited(t, file), nil
		n := 0
		for _, r := range all {
			if fits(r, want) {
				found = r
				n++
			}
		}
		return n == 1
	}, 5*time.Second)
	if !ok {
		t.Errorf("not one record with %v among %v", want, all)
	}
	return found
}

func fits(r, want map[string]any) bool {
	for k, v := range want {
		if r[k] != v {
			return false
		}
	}
	return true
}

// Every refusal and every change is a line, and every call where that is asked
// for: who, what, why, and nothing secret.
func TestAudit(t *testing.T) {
	t.Parallel()
	key, id, err := apikey.Mint()
	if err != nil {
		t.Fatal(err)
	}
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return strings.Replace(yaml, "globex/*\"]", "globex/*\"]\n    tools: {allow: [whoami]}", 1) +
			fmt.Sprintf("admins: {sans: [\"email:ops@example.org\"], keys: [{id: %s, sha256: \"%x\"}]}\naudit: {file: audit.jsonl}\n", id, apikey.Digest(key))
	}})
	file := filepath.Join(g.Dir, "audit.jsonl")
	acme, globex := g.Client(g.Cert("acme")), g.Client(g.Cert("globex"))
	const argument = "an argument that is nobody's business"
	body := `{"message":"` + argument + `"}`
	call := func(c *http.Client, tool, key string) *http.Response {
		t.Helper()
		return ask(t, c, http.MethodPost, g.URL+"/tool/"+tool+"/call", body, asJSON, "Authorization: Bearer "+key)
	}
	wrong := call(acme, "echo", g.Key("globex"))
	r := wantRecord(t, file, map[string]any{"kind": "refused", "reason": "tenant_mismatch", "stage": "agreement", "tenant": "acme",
		"identity": acmeURI, "path": "/tool/{name}/call", "method": "POST", "requestId": wrong.Header.Get("X-Request-Id")})
	for _, name := range []string{"time", "remote", "serial", "fingerprint", "rule", "keyId", "durationMs"} {
		if r[name] == nil {
			t.Errorf("a refusal without %s: %v", name, r)
		}
	}
	call(globex, "echo", g.Key("globex"))
	wantRecord(t, file, map[string]any{"kind": "refused", "reason": "tool_denied", "tenant": "globex", "tool": "echo"})
	call(globex, "nobody-knows-it", g.Key("globex"))
	wantRecord(t, file, map[string]any{"kind": "bad_request", "reason": "ok", "outcome": "not_found", "tenant": "globex", "path": "/tool/{name}/call"})

	ask(t, acme, http.MethodGet, g.URL+"/api/keys/"+strings.Repeat("k", 20), "", "Authorization: Bearer "+g.Key("acme"))
	wantRecord(t, file, map[string]any{"kind": "refused", "method": "GET", "path": "/api/keys/{id}"})
	ask(t, acme, http.MethodGet, g.URL+"/api/nobody-knows-it", "", "Authorization: Bearer "+g.Key("acme"))
	wantRecord(t, file, map[string]any{"kind": "refused", "method": "GET", "path": "/api/"})

	ops := g.Client(g.CA.Issue(t, pkitest.Leaf{Emails: []string{"ops@example.org"}}))
	var minted mintedKey
	res := ask(t, ops, http.MethodPost, g.URL+"/api/keys", `{"tenant":"acme"}`, "Authorization: Bearer "+key)
	if err := json.NewDecoder(res.Body).Decode(&minted); err != nil {
		t.Fatal(err)
	}
	wantRecord(t, file, map[string]any{"kind": "change", "action": "key.mint", "object": minted.ID, "identity": "ops@example.org", "tenant": "@admins", "outcome": "ok"})
	call(acme, "echo", g.Key("acme"))
	if lines := audited(t, file, argument, key, minted.Key, g.Key("acme"), g.Key("globex"), "nobody-knows-it"); len(lines) != 6 {
		t.Errorf("%d lines, want those 6: %v", len(lines), lines)
	}

	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "audit.jsonl", "audit.jsonl, toolCalls: true", 1)
	})
	wantRecord(t, file, map[string]any{"kind": "change", "action": "config.reload", "outcome": "ok"})
	res = call(acme, "echo", g.Key("acme"))
	wantRecord(t, file, map[string]any{"kind": "tool_call", "tool": "echo", "tenant": "acme", "outcome": "ok", "requestId": res.Header.Get("X-Request-Id")})
	audited(t, file, argument)

	// Moved away and told so, or put elsewhere by the configuration.
	moved := filepath.Join(g.Dir, "moved.jsonl")
	if err := os.Rename(file, moved); err != nil {
		t.Fatal(err)
	}
	g.Server.Reload()
	if !servertest.WaitFor(func() bool { _, err := os.Stat(file); return err == nil }, 5*time.Second) {
		t.Error("no new file after the old one was moved")
	}
	g.Configure(func(yaml string) string { return strings.Replace(yaml, "audit.jsonl", "other.jsonl", 1) })
	call(acme, "echo", "wrong")
	wantRecord(t, filepath.Join(g.Dir, "other.jsonl"), map[string]any{"kind": "refused", "reason": "token_unknown"})
	// What fails is tried again, and each try counted, but told once.
	errors := g.Metric("sangate_config_reloads_total", "result", "error")
	g.Write("sangate.yaml", []byte(strings.Replace(readFile(t, filepath.Join(g.Dir, "sangate.yaml")), "other.jsonl", "nowhere/other.jsonl", 1)))
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_config_reloads_total", "result", "error") > errors+2 }, 10*time.Second) {
		t.Error("an audit log that cannot be opened was taken, or not tried again")
	}
	wantRecord(t, filepath.Join(g.Dir, "other.jsonl"), map[string]any{"action": "config.reload", "outcome": "error"})
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
