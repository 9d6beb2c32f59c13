package server_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/store"
)

// withKEK has the gate keep credentials, of which it has none yet.
func withKEK(t *testing.T, opts servertest.Options) (*servertest.Gate, func(method, path, body string, headers ...string) (int, string, http.Header)) {
	t.Helper()
	edit := opts.Config
	opts.Config = func(yaml string) string {
		if edit != nil {
			yaml = edit(yaml)
		}
		return yaml + "credentials: {kek: \"file:kek\"}\naudit: {file: audit.jsonl}\n"
	}
	g, api := administeredBy(t, opts)
	s, err := store.Open(t.Context(), filepath.Join(g.Dir, "state"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, _, err := credential.New(s, "file:"+filepath.Join(g.Dir, "kek"), nil).Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g, api
}

func TestCredentialsAPI(t *testing.T) {
	t.Parallel()
	var log safeLog
	g, api := withKEK(t, servertest.Options{Log: &log})
	const path = "/api/credentials"
	for _, step := range []struct {
		method, path, body, header string
		status                     int
		want                       string
	}{
		{"GET", path, "", "", 200, `[]`},
		{"POST", path, `{"name":"zendesk","description":"tickets","type":"Basic","value":"bot:hunter2","tenantId":"acme"}`, "", 201, `{"credentialId":1,"name":"zendesk"}`},
		{"POST", path, `{"name":"zendesk","type":"Basic","value":"bot:hunter2","tenantId":"acme"}`, "", 409, "of this name"},
		{"POST", path, `{"name":"search","type":"ApiKey","value":"hunter2","header":"X-Key"}`, "", 201, `{"credentialId":2,"name":"search"}`},
		{"POST", path, `{"name":"a","type":"ApiKey","value":"hunter2\n"}`, "", 400, "cannot stand in a header"},
		{"POST", path, `{"name":"a","type":"Secret","value":"hunter2"}`, "", 400, "use ApiKey, Basic or OAuth2"},
		{"POST", path, `{"name":"a","type":"ApiKey","value":"hunter2","tenantId":"nobody"}`, "", 400, "no such tenant"},
		{"POST", path, `{"name":"a","type":"ApiKey","value":"hunter2","Value":"x"}`, "", 400, "each once"},
		{"POST", path, `{"name":"../a","type":"ApiKey","value":"hunter2"}`, "", 400, "name"},
		{"GET", path + "/1", "", "", 200, `"version":1`},
		{"GET", path + "?tenantId=acme", "", "", 200, `"credentialId":1`},
		{"PATCH", path + "/1", `{"value":"bot:hunter3"}`, "", 200, `{"credentialId":1,"version":2}`},
		{"PATCH", path + "/1", `{"value":"bot:hunter4"}`, `If-Match: "1"`, 412, "precondition_failed"},
		{"PATCH", path + "/1", `{"value":"bot:hunter4"}`, `If-Match: "2"`, 200, `"version":3`},
		{"PATCH", path + "/1", `{"value":"bot:hunter5","version":2}`, "", 409, "conflict"},
		{"PATCH", path + "/1", `{"value":"bot:hunter5"}`, `If-Match: 3`, 400, "If-Match"},
		{"PATCH", path + "/1", `{"value":"hunter5"}`, "", 400, "user:password"},
		{"PATCH", path + "/99", `{"value":"x"}`, "", 404, "not_found"},
		{"PATCH", path + "/x", `{"value":"x"}`, "", 404, "not_found"},
		{"DELETE", path + "/2", "", `If-Match: "9"`, 412, "precondition_failed"},
		{"DELETE", path + "/2", "", "", 204, ""},
		{"DELETE", path + "/2", "", "", 404, "not_found"},
		{"PUT", path + "/1", "", "", 405, "method_not_allowed"},
	} {
		var headers []string
		if step.header != "" {
			headers = append(headers, step.header)
		}
		status, body, h := api(step.method, step.path, step.body, headers...)
		if status != step.status || !strings.Contains(body, step.want) || strings.Contains(body, "hunter") {
			t.Errorf("%s %s %s: %d %s; want %d %s", step.method, step.path, step.body, status, body, step.status, step.want)
		}
		if step.method == "GET" && step.path == path+"/1" && h.Get("ETag") != `"1"` {
			t.Errorf("ETag %q", h.Get("ETag"))
		}
	}
	// A tenant, however good its key, is not told that there is such a path.
	res := ask(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+path, "", jwtOf(g.Key("acme")))
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a tenant: %d", res.StatusCode)
	}
	audit := readFile(t, filepath.Join(g.Dir, "audit.jsonl"))
	for _, want := range []string{`"action":"credential.add","object":"credential 1, zendesk of tenant acme"`, `"action":"credential.rotate"`, `"action":"credential.delete","object":"credential 2, search"`} {
		if !strings.Contains(audit, want) {
			t.Errorf("the audit log lacks %s:\n%s", want, audit)
		}
	}
	if strings.Contains(audit+log.String(), "hunter") {
		t.Error("a secret is in a log")
	}
}

// Without a store, or with one that has no keys, the answer says what to do.
func TestNoCredentialStore(t *testing.T) {
	t.Parallel()
	_, api := administeredBy(t, servertest.Options{})
	if status, body, _ := api("GET", "/api/credentials", ""); status != 409 || !strings.Contains(body, "credentials.kek") {
		t.Errorf("no store: %d %s", status, body)
	}
	var log safeLog
	_, api = administeredBy(t, servertest.Options{Log: &log, Config: func(yaml string) string { return yaml + "credentials: {kek: \"file:kek\"}\n" }})
	if status, body, _ := api("POST", "/api/credentials", `{"name":"a","type":"ApiKey","value":"x"}`); status != 409 || !strings.Contains(body, "credential init") {
		t.Errorf("no keys: %d %s", status, body)
	}
	if !strings.Contains(log.String(), "credential init") {
		t.Errorf("the log at the start: %s", log.String())
	}
}

// Declared tools, by the gate: of the tenant's own secret, seen by those whose
// policy names them, counted, and never with a secret in sight.
func TestDeclaredTools(t *testing.T) {
	t.Parallel()
	var seen safeLog
	upstream := newTLSUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(&seen, r.URL.Path, r.Header)
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") == "Bearer hunter2" {
			fmt.Fprintf(w, `{"path":%q,"auth":"good"}`, r.URL.Path)
			return
		}
		w.WriteHeader(http.StatusForbidden)
	})
	pets := `{"openapi":"3.1.0","info":{"title":"x","version":"1"},"servers":[{"url":"` + upstream.URL + `"}],"paths":{"/pets/{id}":{"get":{"operationId":"pet","parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"integer"}}],"responses":{}}}}}`
	var log safeLog
	g, api := withKEK(t, servertest.Options{Log: &log, Files: map[string]string{"up.crt": upstream.CA, "pets.json": pets}, Config: func(yaml string) string {
		return strings.Replace(yaml, "    keys:", "    vars: {v: one}\n    tools: {allow: [\"*\"]}\n    keys:", 1) + `
egress: {allow: [127.0.0.0/8], caFile: up.crt}
tools:
  builtin: [whoami]
  http:
    - {name: api_get, description: d, credential: main, input: {type: object, required: [id], properties: {id: {type: string}}}, request: {url: "` + upstream.URL + `/{tenant.vars.v}/{args.id}"}}
  openapi:
    - {name: pets, document: pets.json, operations: ["*"], prefix: p_, credential: main}
`
	}})
	call := func(tenant, name, args string) (int, string) {
		res := ask(t, g.Client(g.Cert(tenant)), http.MethodPost, g.URL+"/tool/"+name+"/call", args, jwtOf(g.Key(tenant)))
		return res.StatusCode, bodyOf(res)
	}
	if status, body := call("acme", "api_get", `{"id":"x"}`); status != 503 || strings.Contains(body, "main") {
		t.Errorf("without its secret: %d %s", status, body)
	}
	if !strings.Contains(log.String(), `no such credential`) || !strings.Contains(log.String(), "tool api_get refers to it") {
		t.Errorf("the log does not say what is missing, and to whom:\n%s", log.String())
	}
	if status, body, _ := api("POST", "/api/credentials", `{"name":"main","type":"ApiKey","value":"hunter2","tenantId":"acme"}`); status != 201 {
		t.Fatalf("%d %s", status, body)
	}
	if status, body := call("acme", "api_get", `{"id":"a b/c"}`); status != 200 || body != `{"auth":"good","path":"/one/a b/c"}` {
		t.Errorf("a call: %d %s", status, body)
	}
	if status, body := call("acme", "p_pet", `{"id":7}`); status != 200 || !strings.Contains(body, `"/pets/7"`) {
		t.Errorf("an operation: %d %s", status, body)
	}
	if status, _ := call("acme", "echo", `{"message":"x"}`); status != 404 {
		t.Errorf("a built-in that was left out: %d", status)
	}
	for _, name := range []string{"api_get", "p_pet"} {
		if status, _ := call("globex", name, `{"id":"1"}`); status != 404 {
			t.Errorf("%s, of a tenant without a policy: %d", name, status)
		}
	}
	if status, body, _ := api("DELETE", "/api/credentials/1", ""); status != 409 || !strings.Contains(body, "tool api_get") {
		t.Errorf("deleting what is in use: %d %s", status, body)
	}
	if strings.Contains(seen.String(), "X-Octopus") || strings.Contains(seen.String(), g.Key("acme")) {
		t.Errorf("headers of the caller were passed on:\n%s", seen.String())
	}
	by := g.By("sangate_credential_resolutions_total", "result")
	if by["ok"] != 2 || by["not_found"] != 1 {
		t.Errorf("resolutions: %v", by)
	}
	if g.Metric("sangate_tool_calls_total", "tool", "api_get", "tenant", "acme", "result", "unavailable") != 1 {
		t.Error("the unavailable call was not counted as such")
	}
	var list []struct{ Name string }
	if err := json.Unmarshal([]byte(bodyOf(ask(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+"/tools", "", jwtOf(g.Key("acme"))))), &list); err != nil || len(list) != 3 {
		t.Errorf("listed: %v, %v", list, err)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Error("the secret is in the log")
	}
}

// An upstream of tests, over TLS.
type tlsUpstream struct{ URL, CA string }

func newTLSUpstream(t *testing.T, h http.HandlerFunc) tlsUpstream {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	return tlsUpstream{srv.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))}
}
