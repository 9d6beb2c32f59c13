package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// octopusUpstream is a program of its own: an Octopus tool server that takes the
// Bearer tokens which stand in the file token, and says what it was asked, by which.
func octopusUpstream() {
	mux := http.NewServeMux()
	known := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			tokens, err := os.ReadFile("token")
			token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if err != nil || !ok || !slices.Contains(strings.Fields(string(tokens)), token) {
				fmt.Println("refused", r.Method, r.URL.Path)
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"error":"unauthorized"}`)
				return
			}
			fmt.Println("taken", r.Method, r.URL.Path, "by", token, "tenant header:", r.Header["X-Octopus-Tenant-Id"])
			h(w, r)
		}
	}
	schema := `{"type":"object","properties":{"seconds":{"type":"number"},"query":{"type":"string"}}}`
	mux.HandleFunc("GET /tools", known(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `[{"name":"search_tickets","description":"Finds tickets.","inputSchema":%s},{"name":"get_ticket","inputSchema":%[1]s},{"name":"delete_ticket","inputSchema":%[1]s},{"name":"slow_report","inputSchema":%[1]s},{"name":"broken","inputSchema":null}]`, schema)
	}))
	mux.HandleFunc("POST /tool/{name}/call", known(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Arguments struct {
				Seconds float64 `json:"seconds"`
				Query   string  `json:"query"`
			} `json:"arguments"`
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		select {
		case <-time.After(time.Duration(body.Arguments.Seconds * float64(time.Second))):
		case <-r.Context().Done():
		}
		if body.Arguments.Query == "nothing" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"error":"tool_error","message":"No ticket fits."}`)
			return
		}
		fmt.Fprintf(w, `{"tool":%q,"id":12345678901234567890}`, r.PathValue("name"))
	}))
	fmt.Println("ready")
	err := http.ListenAndServeTLS(os.Args[1], "upstream.crt", "upstream.key", mux)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// pasted is the part of an agent's registration that names its tool servers, as
// Octopus has it.
const pasted = `
"mcpServers": [
  {
    "name": "zendesk",
    "baseUrl": "https://localhost:%s",
    "credentialId": 1,
    "timeoutMs": 1500,
    "enabled": true,
    "toolFilter": ["search_tickets", "get_*", "slow_report", "broken"]
  },
  {"name": "old", "baseUrl": "https://localhost:1", "credentialId": 99, "enabled": false}
]
`

// Two processes: a gate and an Octopus tool server, by the definition that an
// agent has. Filter, timeout and credential are honoured, and another credential
// is felt without a restart.
func TestPastedAgent(t *testing.T) {
	dir := t.TempDir()
	ca := pkitest.NewCA(t, "Test CA")
	ca.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}, IPs: []string{"127.0.0.1"}}).Write(t, dir, "server")
	ca.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}}).Write(t, dir, "upstream")
	agent := ca.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/agent"}})
	ops := ca.Issue(t, pkitest.Leaf{Emails: []string{"ops@example.org"}})
	upstreamAt, at, adminAt := freePort(t), freePort(t), freePort(t)
	portOf := func(address string) string { return strings.TrimPrefix(address, "127.0.0.1:") }
	for name, text := range map[string]string{
		"ca.crt": string(ca.PEM()), "token": "first-secret\n",
		"gate.yaml": fmt.Sprintf(`listen: %s
admin: %s
state: state
tls: {cert: server.crt, key: server.key, clientCA: [ca.crt]}
tenants:
  - {id: acme, secondFactor: none, sans: ["uri:spiffe://example.org/tenant/acme/*"], tools: {allow: ["*"], deny: ["get_*"]}}
admins: {sans: ["email:ops@example.org"], secondFactor: none}
credentials: {kek: "file:kek"}
egress: {allow: [127.0.0.0/8], caFile: ca.crt}
`, at, adminAt) + fmt.Sprintf(pasted, portOf(upstreamAt)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runSangate(t, dir, "", "credential", "init", "--config", "gate.yaml")
	runSangate(t, dir, "first-secret", "credential", "add", "--config", "gate.yaml", "--name", "zendesk", "--type", "ApiKey")
	upstream := runProcess(t, dir, "octopus-upstream", upstreamAt)
	gate := runProcess(t, dir, "sangate", "serve", "--config", "gate.yaml")
	url := "https://localhost:" + portOf(at)
	client, admin := clientOf(t, ca, agent), clientOf(t, ca, ops)

	tools := func() []string {
		status, body := request(t, client, http.MethodGet, url+"/tools", "")
		var list []struct {
			Name        string
			Unavailable bool
		}
		if status != http.StatusOK || json.Unmarshal([]byte(body), &list) != nil {
			return []string{fmt.Sprint(status, body)}
		}
		var names []string
		for _, l := range list {
			if l.Unavailable {
				l.Name += " (unavailable)"
			}
			names = append(names, l.Name)
		}
		return names
	}
	within(t, "the upstream's tools are listed", 10*time.Second, func() bool { return slices.Contains(tools(), "search_tickets") })
	if got := tools(); !slices.Contains(got, "slow_report") || slices.Contains(got, "delete_ticket") || slices.Contains(got, "get_ticket") || slices.Contains(got, "broken") {
		t.Errorf("tools: %v; want what the filter takes, the tenant's policy allows and has a schema", got)
	}
	call := func(name, args string) (int, string) {
		return request(t, client, http.MethodPost, url+"/tool/"+name+"/call", `{"arguments":`+args+`}`)
	}
	if status, body := call("search_tickets", `{"query":"x"}`); status != http.StatusOK || body != `{"tool":"search_tickets","id":12345678901234567890}` {
		t.Errorf("a call: %d %s; want the answer to the digit", status, body)
	}
	if status, body := call("search_tickets", `{"query":"nothing"}`); status != http.StatusUnprocessableEntity || !strings.Contains(body, "No ticket fits.") {
		t.Errorf("the tool says no: %d %s", status, body)
	}
	if status, _ := call("get_ticket", `{}`); status != http.StatusNotFound {
		t.Errorf("a denied tool: %d", status)
	}
	if status, body := call("slow_report", `{"seconds":20}`); status != http.StatusGatewayTimeout {
		t.Errorf("over timeoutMs: %d %s", status, body)
	}
	if log := upstream.out(); strings.Contains(log, "tenant header: [a") || !strings.Contains(log, "tenant header: []") {
		t.Errorf("headers of the caller were passed on:\n%s", log)
	}

	// The upstream takes another token only: calls fail, then the tools are marked.
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("second-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// 503 where the look that follows a timeout was quicker to find out than the call.
	if status, body := call("search_tickets", `{}`); (status != http.StatusBadGateway && status != http.StatusServiceUnavailable) || strings.Contains(body, "secret") {
		t.Errorf("with a credential that is no longer good: %d %s", status, body)
	}
	within(t, "the tools are marked unavailable", 10*time.Second, func() bool { return slices.Contains(tools(), "search_tickets (unavailable)") })
	if status, _ := call("search_tickets", `{}`); status != http.StatusServiceUnavailable {
		t.Errorf("an unavailable tool: %d", status)
	}
	if status, body := request(t, admin, http.MethodPatch, url+"/api/credentials/1", `{"value":"second-secret"}`); status != http.StatusOK || body != `{"credentialId":1,"version":2}` {
		t.Fatalf("PATCH: %d %s", status, body)
	}
	within(t, "the new credential is felt", 5*time.Second, func() bool {
		status, _ := call("search_tickets", `{}`)
		return status == http.StatusOK
	})
	if got := tools(); !slices.Contains(got, "search_tickets") {
		t.Errorf("tools after the new credential: %v", got)
	}

	// By the command line too, from the next call on; and while it is in use it stays. The
	// upstream takes both tokens meanwhile: a look of the gate's may fall between.
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("second-secret\nthird-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runSangate(t, dir, "third-secret", "credential", "rotate", "--config", "gate.yaml", "1")
	if status, body := call("search_tickets", `{}`); status != http.StatusOK {
		t.Errorf("the next call after a rotation: %d %s", status, body)
	}
	within(t, "the next call after a rotation is by the new secret", 5*time.Second, func() bool {
		return strings.Contains(upstream.out(), "taken POST /tool/search_tickets/call by third-secret")
	})
	if status, body := request(t, admin, http.MethodDelete, url+"/api/credentials/1", ""); status != http.StatusConflict || !strings.Contains(body, "mcpServers zendesk") {
		t.Errorf("deleting what is in use: %d %s", status, body)
	}
	status, body := request(t, admin, http.MethodGet, url+"/api/credentials", "")
	for _, secret := range []string{"first-secret", "second-secret", "third-secret"} {
		if strings.Contains(gate.out(), secret) || strings.Contains(body, secret) {
			t.Errorf("%s is in the gate's log or list (%d)", secret, status)
		}
	}
}

// A process that runs until the test ends.
type runningProcess struct{ log *logBuffer }

func (p *runningProcess) out() string { return p.log.String() }

func runProcess(t *testing.T, dir, name string, args ...string) *runningProcess {
	t.Helper()
	p := &runningProcess{&logBuffer{}}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		stop := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		stop.Stop()
		if t.Failed() {
			t.Logf("%s:\n%s", name, p.out())
		}
	})
	return p
}

// runSangate runs a command to its end.
func runSangate(t *testing.T, dir, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command("sangate", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sangate %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func clientOf(t *testing.T, ca *pkitest.CA, cert *pkitest.Cert) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert.TLS}}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// request returns 0 where there was no answer.
func request(t *testing.T, c *http.Client, method, url, body string) (int, string) {
	t.Helper()
	return requestAs(t, c, "", method, url, body)
}

func requestAs(t *testing.T, c *http.Client, key, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(data)
}

func within(t *testing.T, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}
