package server_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// leaks are the forms in which a hostile upstream repeats the credential it was sent.
var leaks = map[string]func(string) string{
	"plain":  func(s string) string { return s },
	"base64": func(s string) string { return base64.StdEncoding.EncodeToString([]byte("user:" + s)) },
	"query":  url.QueryEscape,
	"json":   func(s string) string { b, _ := json.Marshal(s); return string(b) },
}

// An upstream that repeats its credential, in errors, results, headers, redirects and what is not HTTP, gets it neither
// to the tenant nor into the log, the audit log or the console, before and after a rotation.
//
// Holds: upstream/secret-in-error
func TestUpstreamRepeatsCredential(t *testing.T) {
	t.Parallel()
	const first, second = `hunter2/first+"secret"`, `hunter3/second+"secret"`
	var mode, leak atomic.Value
	mode.Store("good")
	leak.Store("plain")
	old := atomic.Value{}
	old.Store("")
	up := newTLSUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		shown := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + r.Header.Get("X-Key")
		said := leaks[leak.Load().(string)](shown) + " " + leaks[leak.Load().(string)](old.Load().(string))
		quoted, _ := json.Marshal("you sent " + said)
		octopus := strings.HasPrefix(r.URL.Path, "/octopus")
		switch m := mode.Load().(string); {
		case m == "redirect":
			w.Header().Set("Location", "https://localhost/?key="+url.QueryEscape(shown)+"%zz")
			w.WriteHeader(http.StatusFound)
		case m == "garbage":
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = fmt.Fprintf(conn, "what is %s\r\n\r\n", said)
				_ = conn.Close()
			}
		case octopus && r.URL.Path == "/octopus/tools":
			fmt.Fprintf(w, `[{"name":"tell","description":%s,"inputSchema":{"type":"object"}}]`, quoted)
		case octopus && m == "error":
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprintf(w, `{"error":"x","message":%s}`, quoted)
		case octopus:
			fmt.Fprintf(w, `{"n":1.10,"said":%s}`, quoted)
		case strings.HasPrefix(r.URL.Path, "/mcp"):
			body, _ := io.ReadAll(r.Body)
			var m1 struct {
				ID     json.RawMessage `json:"id"`
				Method string          `json:"method"`
			}
			_ = json.Unmarshal(body, &m1)
			w.Header().Set("Content-Type", "text/event-stream")
			result := ""
			switch m1.Method {
			case "initialize":
				result = fmt.Sprintf(`"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":%s,"version":"1"}}`, quoted)
			case "tools/list":
				result = fmt.Sprintf(`"result":{"tools":[{"name":"say","description":%s,"inputSchema":{"type":"object"}}]}`, quoted)
			case "tools/call":
				result = fmt.Sprintf(`"result":{"content":[{"type":"text","text":%s}],"structuredContent":{"n":1.10,"said":%[1]s}}`, quoted)
				if m == "error" {
					result = fmt.Sprintf(`"error":{"code":-32000,"message":%s,"data":%[1]s}`, quoted)
				}
			default:
				w.WriteHeader(http.StatusAccepted)
				return
			}
			text := fmt.Sprintf("data: {\"jsonrpc\":\"2.0\",\"id\":%s,%s}\n\n", m1.ID, result)
			for len(text) > 0 { // in pieces
				n := min(len(text), 7)
				_, _ = io.WriteString(w, text[:n])
				_ = http.NewResponseController(w).Flush()
				text = text[n:]
			}
		default:
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Said", said)
			if m == "error" {
				w.WriteHeader(http.StatusTeapot)
			}
			fmt.Fprintf(w, `{"n":1.10,"said":%s}`, quoted)
		}
	})
	var log safeLog
	g, api := withKEK(t, servertest.Options{Log: &log, Files: map[string]string{"up.crt": up.CA}, Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {allow: [\"*\"]}\n    keys:", 1) + fmt.Sprintf(`
egress: {allow: [127.0.0.0/8], caFile: up.crt}
tools:
  builtin: [whoami]
  http:
    - {name: declared, description: d, credentialId: 1, input: {type: object}, request: {url: "%[1]s/api"}, errors: {default: response.text}, response: '{"body": response.body, "header": response.headers["x-said"]}'}
    - {name: byhand, description: d, credentialId: 1, input: {type: object}, request: {url: "%[1]s/api", query: {key: secret}, headers: {X-Key: secret}}, errors: {default: response.text}, response: response.body}
    - {name: eval, description: d, credentialId: 1, input: {type: object}, request: {url: "%[1]s/api", query: {key: "int(secret)"}}}
mcpServers:
  - {name: octo, prefix: o_, protocol: octopus, baseUrl: "%[1]s/octopus", credentialId: 1, refresh: 1s}
  - {name: mcp, prefix: m_, protocol: mcp, baseUrl: "%[1]s/mcp", credentialId: 1, refresh: 1s}
`, up.URL)
	}})
	body, _ := json.Marshal(map[string]string{"name": "main", "type": "ApiKey", "value": first})
	if status, text, _ := api("POST", "/api/credentials", string(body)); status != 201 {
		t.Fatalf("adding the credential: %d %s", status, text)
	}
	var seen safeLog
	tools := []string{"declared", "byhand", "eval", "o_tell", "m_say"}
	ready := func() bool {
		l := listed(t, g, "acme")
		return strings.Contains(l, "o_tell ") && strings.Contains(l, "m_say ")
	}
	all := func() {
		for name := range leaks {
			leak.Store(name)
			for _, m := range []string{"good", "error"} {
				mode.Store(m)
				for _, tool := range tools {
					status, text := callTool(t, g, "acme", tool, `{}`)
					fmt.Fprintln(&seen, name, m, tool, status, text)
					if m == "good" && tool != "eval" && (status != 200 || !strings.Contains(text, "[redacted]") || (tool != "byhand" && tool != "declared" && !strings.Contains(text, "1.10"))) {
						t.Errorf("%s %s: %d %s", name, tool, status, text)
					}
				}
			}
		}
		for _, m := range []string{"redirect", "garbage"} {
			mode.Store(m)
			for _, tool := range tools {
				status, text := callTool(t, g, "acme", tool, `{}`)
				fmt.Fprintln(&seen, m, tool, status, text)
			}
			if !servertest.WaitFor(func() bool { return strings.Contains(listed(t, g, "acme"), "m_say!") }, 15*time.Second) {
				t.Errorf("%s: %s", m, listed(t, g, "acme"))
			}
			for _, page := range []string{"/", "/tools", "/upstreams", "/denied", "/refusals"} {
				res, err := http.Get(g.AdminURL + page)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintln(&seen, page, bodyOf(res))
			}
			mode.Store("good")
			if !servertest.WaitFor(ready, 15*time.Second) {
				t.Fatalf("after %s: %s", m, listed(t, g, "acme"))
			}
		}
		fmt.Fprintln(&seen, bodyOf(ask(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+"/tools", "", jwtOf(g.Key("acme")))))
	}
	if !servertest.WaitFor(ready, 15*time.Second) {
		t.Fatalf("at the start: %s", listed(t, g, "acme"))
	}
	all()
	body, _ = json.Marshal(map[string]string{"value": second})
	if status, text, _ := api("PATCH", "/api/credentials/1", string(body)); status != 200 {
		t.Fatalf("rotating: %d %s", status, text)
	}
	mode.Store("good")
	tools = []string{"o_tell", "m_say"} // their links remember the value before
	old.Store(first)
	if !servertest.WaitFor(ready, 15*time.Second) {
		t.Fatalf("after the rotation: %s", listed(t, g, "acme"))
	}
	all()
	text := seen.String() + log.String() + readFile(t, filepath.Join(g.Dir, "audit.jsonl"))
	for _, secret := range []string{first, second} {
		for name, form := range leaks {
			for _, needle := range []string{form(secret), strings.Trim(form(secret), `"`)} {
				if at := strings.Index(text, needle); at >= 0 {
					t.Errorf("%s of %q is shown: …%.300q…", name, secret, text[max(0, at-200):at])
				}
			}
		}
		if core := "hunter"; strings.Contains(text, core) {
			at := strings.Index(text, core)
			t.Errorf("part of a secret is shown: %.300q", text[max(0, at-200):min(len(text), at+100)])
		}
	}
}

// A command that repeats its environment on standard error or in its answers.
//
// Holds: upstream/secret-on-stderr
func TestCommandRepeatsCredential(t *testing.T) {
	t.Setenv("SANGATE_TEST_TOKEN", "hunter2-interpolated")
	script := filepath.Join(t.TempDir(), "leaky")
	text := `#!/bin/sh
say() { echo "stderr $CRED $OTHER_KEY $1" >&2; printf '%2100s%s\n' '' "$CRED" >&2; printf '%2036s%s\n' '' "$CRED" >&2; }
say "$1"
while read -r line; do
  id=$(echo "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
  *'"initialize"'*) echo '{"jsonrpc":"2.0","id":'$id',"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}}' ;;
  *'"tools/list"'*) echo '{"jsonrpc":"2.0","id":'$id',"result":{"tools":[{"name":"tell","description":"'$CRED'","inputSchema":{"type":"object"}}]}}' ;;
  *'"tools/call"'*) echo '{"jsonrpc":"2.0","id":'$id',"error":{"code":-32000,"message":"'$CRED' '$OTHER_KEY' '$1'"}}' ;;
  *'"id"'*) echo '{"jsonrpc":"2.0","id":'$id',"error":{"code":-32601,"message":"no"}}' ;;
  esac
done
say last
`
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	var log safeLog
	g, api := withKEK(t, servertest.Options{Log: &log, Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    tools: {allow: [\"*\"]}\n    keys:", 1) + fmt.Sprintf(`
mcpServers:
  - {name: own, prefix: s_, command: [%s, "${SANGATE_TEST_TOKEN}"], env: {OTHER_KEY: hunter2-environment}, credentialId: 1, credentialEnv: CRED, refresh: 1s}
`, script)
	}})
	if status, text, _ := api("POST", "/api/credentials", `{"name":"main","type":"ApiKey","value":"hunter2-credential"}`); status != 201 {
		t.Fatalf("adding the credential: %d %s", status, text)
	}
	if !servertest.WaitFor(func() bool { return strings.Contains(listed(t, g, "acme"), "s_tell") }, 15*time.Second) {
		t.Fatalf("tools: %s\n%s", listed(t, g, "acme"), log.String())
	}
	status, body := callTool(t, g, "acme", "s_tell", `{}`)
	res, err := http.Get(g.AdminURL + "/tools")
	if err != nil {
		t.Fatal(err)
	}
	seen := fmt.Sprint(status, body, bodyOf(res), bodyOf(ask(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+"/tools", "", jwtOf(g.Key("acme")))), log.String())
	if !strings.Contains(seen, "stderr [redacted] [redacted] [redacted]") {
		t.Errorf("standard error is not in the log: %s", log.String())
	}
	if at := strings.Index(seen, "hunter"); at >= 0 {
		t.Errorf("a secret is shown: %.300q", seen[max(0, at-200):min(len(seen), at+50)])
	}
}
