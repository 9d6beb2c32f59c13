package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// zendesk is a stub of the documented API (developer.zendesk.com, Tickets and
// Search), for the subdomains that have a secret.
type zendesk struct {
	mu      sync.Mutex
	secrets map[string]string // by host: user:password
	tickets map[string][]map[string]any
	refused int
	busy    int // answers 503 so often
}

func (z *zendesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	z.mu.Lock()
	defer z.mu.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	say := func(status int, body any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	user, password, _ := r.BasicAuth()
	if want := z.secrets[r.Host]; want == "" || user+":"+password != want {
		z.refused++
		say(http.StatusUnauthorized, map[string]any{"error": "Couldn't authenticate you"})
		return
	}
	if z.busy > 0 && r.Method == http.MethodGet {
		z.busy--
		w.Header().Set("Retry-After", "0")
		say(http.StatusServiceUnavailable, map[string]any{})
		return
	}
	var sent struct {
		Ticket map[string]any `json:"ticket"`
	}
	if r.Method != http.MethodGet {
		if r.Header.Get("Content-Type") != "application/json" || json.NewDecoder(r.Body).Decode(&sent) != nil {
			say(http.StatusBadRequest, map[string]any{"error": "bad body"})
			return
		}
	}
	list := z.tickets[r.Host]
	one := regexp.MustCompile(`^/api/v2/tickets/([0-9]+)\.json$`).FindStringSubmatch(r.URL.Path)
	var found map[string]any
	for _, ticket := range list {
		if one != nil && fmt.Sprint(ticket["id"]) == one[1] {
			found = ticket
		}
	}
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/api/v2/tickets.json":
		if len(fmt.Sprint(sent.Ticket["subject"])) < 3 {
			say(http.StatusUnprocessableEntity, map[string]any{"error": "RecordInvalid", "description": "Record validation errors"})
			return
		}
		sent.Ticket["id"], sent.Ticket["status"] = 35436+len(list), "new"
		z.tickets[r.Host] = append(list, sent.Ticket)
		say(http.StatusCreated, map[string]any{"ticket": sent.Ticket})
	case r.Method == http.MethodGet && r.URL.Path == "/api/v2/search.json":
		q := r.URL.Query()
		words, ok := strings.CutPrefix(q.Get("query"), "type:ticket ")
		if !ok || q.Get("per_page") != "25" || q.Get("sort_order") != "desc" {
			say(http.StatusBadRequest, map[string]any{"error": "bad query"})
			return
		}
		results := []map[string]any{}
		for _, ticket := range list {
			if strings.Contains(fmt.Sprint(ticket["subject"]), words) {
				results = append(results, ticket)
			}
		}
		say(http.StatusOK, map[string]any{"count": len(results), "results": results, "next_page": nil})
	case found == nil:
		say(http.StatusNotFound, map[string]any{"error": "RecordNotFound", "description": "Not found"})
	case r.Method == http.MethodPut:
		found["comment"], found["status"] = sent.Ticket["comment"], "open"
		say(http.StatusOK, map[string]any{"ticket": found, "audit": map[string]any{}})
	default:
		say(http.StatusOK, map[string]any{"ticket": found})
	}
}

// towards is an HTTP proxy by which every host is the same server.
func towards(t *testing.T, address string) string {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || !strings.HasSuffix(r.Host, ".zendesk.com:443") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		to, err := net.Dial("tcp", address)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		fmt.Fprint(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(to, buffered) }()
		_, _ = io.Copy(from, to)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// docs/examples/zendesk.yaml as it is shipped, by the commands at its top: four
// tools of each tenant, with its own subdomain and its own secret.
func TestZendesk(t *testing.T) {
	const example = "../../docs/examples/zendesk.yaml"
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ca := pkitest.NewCA(t, "Test CA")
	ca.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}}).Write(t, dir, "server")
	stub := &zendesk{secrets: map[string]string{"acme.zendesk.com": "bot@acme.example/token:acme-hunter2", "globex-support.zendesk.com": "bot@globex.example/token:globex-hunter2"},
		tickets: make(map[string][]map[string]any)}
	server := httptest.NewUnstartedServer(stub)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, pkitest.Leaf{DNS: []string{"acme.zendesk.com", "globex-support.zendesk.com"}}).TLS}}
	server.StartTLS()
	t.Cleanup(server.Close)
	at, adminAt := freePort(t), freePort(t)
	yaml := strings.NewReplacer("/etc/sangate/clients/", "ca.crt", "/etc/sangate/", "", "/var/lib/sangate", "state", "0.0.0.0:8443", at, "127.0.0.1:9090", adminAt).Replace(string(text))
	yaml += fmt.Sprintf("\negress: {caFile: ca.crt, proxy: %q}\n", towards(t, server.Listener.Addr().String()))
	for name, content := range map[string]string{"ca.crt": string(ca.PEM()), "zendesk.yaml": yaml,
		"acme.secret": "bot@acme.example/token:acme-hunter2\n", "globex.secret": "bot@globex.example/token:globex-hunter2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ran := 0
	for lines := bufio.NewScanner(strings.NewReader(yaml)); lines.Scan(); {
		command, ok := strings.CutPrefix(lines.Text(), "#   sangate ")
		if !ok {
			continue
		}
		command, file, _ := strings.Cut(command, " <")
		secret := ""
		if file != "" {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			secret = string(data)
		}
		runSangate(t, dir, secret, strings.Fields(command)...)
		ran++
	}
	if ran != 3 {
		t.Fatalf("%d commands at the top", ran)
	}
	gate := runProcess(t, dir, "sangate", "serve", "--config", "zendesk.yaml", "--set", "log.level=debug")
	url := "https://localhost" + strings.TrimPrefix(at, "127.0.0.1")
	type caller struct {
		client *http.Client
		key    string
	}
	callers := make(map[string]caller)
	for _, tenant := range []string{"acme", "globex"} {
		key := mintKey(t, dir, "zendesk.yaml", tenant)
		cert := ca.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/" + tenant + "/agent"}})
		callers[tenant] = caller{clientOf(t, ca, cert), key}
	}
	call := func(tenant, tool, args string) (int, string) {
		t.Helper()
		return requestAs(t, callers[tenant].client, callers[tenant].key, http.MethodPost, url+"/tool/"+tool+"/call", args)
	}
	within(t, "the gate serves", 20*time.Second, func() bool {
		status, _ := requestAs(t, callers["acme"].client, callers["acme"].key, http.MethodGet, url+"/tools", "")
		return status == http.StatusOK
	})

	for _, step := range []struct {
		tenant, tool, args string
		status             int
		want               string
	}{
		{"acme", "zendesk_create_ticket", `{"subject":"printer on fire","body":"help","priority":"urgent","requesterEmail":"a@b.c"}`, 200, `{"comment":{"body":"help"},"id":35436,"priority":"urgent","requester":{"email":"a@b.c"},"status":"new","subject":"printer on fire"}`},
		{"acme", "zendesk_create_ticket", `{"subject":"no paper","body":"help"}`, 200, `"id":35437`},
		{"acme", "zendesk_create_ticket", `{"subject":"x","body":"help"}`, 422, "Zendesk does not take the ticket: Record validation errors"},
		{"acme", "zendesk_create_ticket", `{"subject":"x"}`, 400, "invalid_arguments"},
		{"acme", "zendesk_create_ticket", `{"subject":"x","body":"y","priority":"whatever"}`, 400, "invalid_arguments"},
		{"acme", "zendesk_search_tickets", `{"query":"printer"}`, 200, `{"count":1,"tickets":[{"id":35436,"priority":"urgent","status":"new","subject":"printer on fire"}]}`},
		{"acme", "zendesk_search_tickets", `{"query":"x&per_page=1000"}`, 200, `{"count":0,"tickets":[]}`},
		{"acme", "zendesk_get_ticket", `{"id":35437}`, 200, `"subject":"no paper"`},
		{"acme", "zendesk_get_ticket", `{"id":1}`, 422, "There is no ticket 1."},
		{"acme", "zendesk_get_ticket", `{"id":"../../api/v2/users"}`, 400, "invalid_arguments"},
		{"acme", "zendesk_add_comment", `{"id":35436,"body":"it is out"}`, 200, `{"id":35436,"status":"open"}`},
		{"acme", "zendesk_get_ticket", `{"id":35436}`, 200, `"comment":{"body":"it is out","public":false}`},
		// The other tenant has its own tickets, and may not make any.
		{"globex", "zendesk_get_ticket", `{"id":35436}`, 422, "There is no ticket 35436."},
		{"globex", "zendesk_search_tickets", `{"query":"printer"}`, 200, `{"count":0,"tickets":[]}`},
		{"globex", "zendesk_create_ticket", `{"subject":"printer","body":"help"}`, 404, "not_found"},
	} {
		if status, body := call(step.tenant, step.tool, step.args); status != step.status || !strings.Contains(body, step.want) {
			t.Errorf("%s %s %s: %d %s; want %d %s", step.tenant, step.tool, step.args, status, body, step.status, step.want)
		}
	}
	stub.mu.Lock()
	if stub.refused != 0 {
		t.Errorf("%d requests had the wrong secret", stub.refused)
	}
	stub.busy = 2 // a reading call is tried again
	stub.mu.Unlock()
	if status, body := call("acme", "zendesk_get_ticket", `{"id":35436}`); status != 200 {
		t.Errorf("busy for a moment: %d %s", status, body)
	}
	// The tenants' secrets swapped: each is refused at the other's subdomain.
	runSangate(t, dir, "bot@globex.example/token:globex-hunter2", "credential", "rotate", "--config", "zendesk.yaml", "1")
	if status, body := call("acme", "zendesk_get_ticket", `{"id":35436}`); status != http.StatusBadGateway || strings.Contains(body, "authenticate") {
		t.Errorf("with the other tenant's secret: %d %s", status, body)
	}
	runSangate(t, dir, "bot@acme.example/token:acme-hunter2", "credential", "rotate", "--config", "zendesk.yaml", "1")
	if status, body := call("acme", "zendesk_get_ticket", `{"id":35436}`); status != 200 {
		t.Errorf("rotated back: %d %s", status, body)
	}
	if strings.Contains(gate.out(), "hunter2") {
		t.Error("a secret is in the log")
	}
}

func mintKey(t *testing.T, dir, config, tenant string) string {
	t.Helper()
	code, out, errs := sangate(t, "", "token", "mint", "--config", filepath.Join(dir, config), "--tenant", tenant)
	if code != 0 {
		t.Fatalf("token mint: %s", errs)
	}
	return strings.TrimSpace(out)
}
