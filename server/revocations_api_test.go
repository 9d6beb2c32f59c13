package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/store"
	"github.com/sangate/sangate/server/tool"
)

const opsName = "ops@example.org"

// administered starts a gate with admins and returns their client's request.
func administered(t *testing.T, opts servertest.Options) (g *servertest.Gate, api func(method, path, body string) (int, string)) {
	t.Helper()
	g, do := administeredBy(t, opts)
	return g, func(method, path, body string) (int, string) {
		t.Helper()
		status, text, _ := do(method, path, body)
		return status, text
	}
}

// administeredBy is administered, with headers in and out.
func administeredBy(t *testing.T, opts servertest.Options) (g *servertest.Gate, api func(method, path, body string, headers ...string) (int, string, http.Header)) {
	t.Helper()
	key, id, err := apikey.Mint()
	if err != nil {
		t.Fatal(err)
	}
	edit := opts.Config
	opts.Config = func(yaml string) string {
		if edit != nil {
			yaml = edit(yaml)
		}
		return yaml + fmt.Sprintf("admins: {sans: [\"email:%s\"], keys: [{id: %s, sha256: \"%x\"}]}\n", opsName, id, apikey.Digest(key))
	}
	g = servertest.Start(t, opts)
	ops := g.Client(g.CA.Issue(t, pkitest.Leaf{Emails: []string{opsName}}))
	return g, func(method, path, body string, headers ...string) (int, string, http.Header) {
		t.Helper()
		res := ask(t, ops, method, g.URL+path, body, append(headers, "Authorization: Bearer "+key)...)
		return res.StatusCode, bodyOf(res), res.Header
	}
}

type listedRevocation struct {
	ID                        int64
	Entry, Comment, CreatedBy string
	CreatedAt                 time.Time
}

// An entry is in force when it has been acknowledged: the running call is cut,
// the next handshake says revoked; taken out, the holder is let in again.
func TestRevocationsAPI(t *testing.T) {
	t.Parallel()
	wait, began, release := waiting(t)
	defer close(release)
	g, api := administered(t, servertest.Options{Tools: []*tool.Tool{wait}})
	cert := g.Cert("acme")
	token := "Authorization: Bearer " + g.Key("acme")
	running := start(t, g.Client(cert), g.URL+"/tool/wait/call", "{}", asJSON, token)
	select {
	case <-began:
	case o := <-running:
		t.Fatalf("before: %+v", o)
	}
	if status, body := api("GET", "/api/revocations", ""); status != 200 || body != "[]" {
		t.Fatalf("at first: %d %s", status, body)
	}
	entry := "san:uri:" + cert.Leaf.URIs[0].String()
	status, body := api("POST", "/api/revocations", fmt.Sprintf(`{"entry": %q, "comment": "laptop lost"}`, entry))
	var added listedRevocation
	if err := json.Unmarshal([]byte(body), &added); err != nil || status != 201 || added.Entry != entry || added.Comment != "laptop lost" ||
		added.CreatedBy != opsName || added.ID == 0 || time.Since(added.CreatedAt) > time.Minute {
		t.Fatalf("added: %d %s", status, body)
	}
	shaken := g.By(handshakes, "result")
	if _, err := try(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", token); err == nil {
		t.Error("a handshake of the denied certificate got through")
	}
	wantChange(t, g, handshakes, "result", shaken, map[string]float64{"revoked": 1})
	select {
	case o := <-running:
		if o.err != nil {
			t.Fatal(o.err)
		}
		wantError(t, o.res, 401, "unauthorized")
	case <-time.After(second):
		t.Fatal("the call goes on")
	}
	if n := g.Metric("sangate_revocations_total", "name", "/api/revocations"); n != 2 {
		t.Errorf("%v refusals counted, want the handshake and the call", n)
	}
	if status, again := api("POST", "/api/revocations", fmt.Sprintf(`{"entry": %q}`, entry)); status != 200 || again != body {
		t.Errorf("added again: %d %s", status, again)
	}
	if status, list := api("GET", "/api/revocations", ""); status != 200 || list != "["+body+"]" {
		t.Errorf("listed: %d %s", status, list)
	}
	path := fmt.Sprintf("/api/revocations/%d", added.ID)
	if status, body := api("DELETE", path, ""); status != 204 || body != "" {
		t.Errorf("deleted: %d %s", status, body)
	}
	if res := ask(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
		t.Errorf("after it was taken out: %s", res.Status)
	}
	if status, _ := api("DELETE", path, ""); status != 404 {
		t.Errorf("deleted twice: %d", status)
	}
}

func TestRevocationsAPIRefuses(t *testing.T) {
	t.Parallel()
	_, api := administered(t, servertest.Options{})
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		code, says         string
	}{
		"no entry":       {"POST", "/api/revocations", `{}`, 400, "bad_request", "nothing in it"},
		"no denylist's":  {"POST", "/api/revocations", `{"entry":"cn:agent"}`, 400, "bad_request", "sha256, spki, serial or san"},
		"two":            {"POST", "/api/revocations", `{"entry":"serial:01\nserial:02"}`, 400, "bad_request", "one entry"},
		"comment in it":  {"POST", "/api/revocations", `{"entry":"serial:01 # who"}`, 400, "bad_request", "one entry"},
		"bad rule":       {"POST", "/api/revocations", `{"entry":"san:uri:spiffe://x/**/y"}`, 400, "bad_request", "nothing can follow"},
		"unknown member": {"POST", "/api/revocations", `{"entry":"serial:01","serial":"02"}`, 400, "bad_request", "names"},
		"member twice":   {"POST", "/api/revocations", `{"entry":"serial:01","entry":"serial:02"}`, 400, "bad_request", "once"},
		"control byte":   {"POST", "/api/revocations", `{"entry":"serial:01","comment":"a\u001bb"}`, 400, "bad_request", "one line"},
		"long comment":   {"POST", "/api/revocations", `{"entry":"serial:01","comment":"` + strings.Repeat("x", 1025) + `"}`, 400, "bad_request", "1024"},
		"oneself":        {"POST", "/api/revocations", `{"entry":"san:email:ops@example.org"}`, 409, "conflict", "your own"},
		"everybody":      {"POST", "/api/revocations", `{"entry":"san:email:*@example.org"}`, 409, "conflict", "your own"},
		"no number":      {"DELETE", "/api/revocations/x", "", 404, "not_found", ""},
		"not there":      {"DELETE", "/api/revocations/7", "", 404, "not_found", ""},
		"method":         {"PUT", "/api/revocations", "", 405, "method_not_allowed", ""},
		"no such path":   {"GET", "/api/else", "", 404, "not_found", ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := api(tt.method, tt.path, tt.body)
			var e struct{ Error, Message string }
			if err := json.Unmarshal([]byte(body), &e); err != nil || status != tt.status || e.Error != tt.code || !strings.Contains(e.Message, tt.says) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	if _, list := api("GET", "/api/revocations", ""); list != "[]" {
		t.Errorf("one of them was kept: %s", list)
	}
}

// Nobody but an admin is told anything of /api: not a tenant with all its
// factors, not an admin's certificate with a tenant's key, not without one.
func TestAdminsOnly(t *testing.T) {
	t.Parallel()
	g, api := administered(t, servertest.Options{})
	ops := g.CA.Issue(t, pkitest.Leaf{Emails: []string{opsName}})
	both := g.CA.Issue(t, pkitest.Leaf{Emails: []string{opsName}, URIs: []string{"spiffe://example.org/tenant/acme/boss"}})
	acme := "Authorization: Bearer " + g.Key("acme")
	for name, tt := range map[string]struct {
		cert   *pkitest.Cert
		header []string
		status int
		reason string
	}{
		"a tenant's":           {g.Cert("acme"), []string{acme}, 403, "san_unmapped"},
		"a tenant's key":       {ops, []string{acme}, 403, "tenant_mismatch"},
		"no key":               {ops, nil, 401, "token_missing"},
		"both names, acme key": {both, []string{acme}, 403, "tenant_mismatch"},
		"named as tenant":      {ops, []string{acme, "X-Octopus-Tenant-Id: @admins"}, 403, "tenant_mismatch"},
	} {
		for _, path := range []string{"/api/revocations", "/api/else", "/api/a/b"} {
			t.Run(name+path, func(t *testing.T) {
				before := g.By(decisions, "reason")
				res := ask(t, g.Client(tt.cert), http.MethodGet, g.URL+path, "", tt.header...)
				wantError(t, res, tt.status, map[int]string{401: "unauthorized", 403: "forbidden"}[tt.status])
				wantChange(t, g, decisions, "reason", before, map[string]float64{tt.reason: 1})
			})
		}
	}
	// An admin is no tenant.
	if res := ask(t, g.Client(ops), http.MethodGet, g.URL+"/tools", "", acme); res.StatusCode != 403 {
		t.Errorf("an admin's certificate at /tools: %s", res.Status)
	}
	if res := ask(t, g.Client(both), http.MethodGet, g.URL+"/tools", "", acme); res.StatusCode != 200 {
		t.Errorf("who is both, at /tools: %s", res.Status)
	}
	g.Configure(func(yaml string) string {
		before, _, _ := strings.Cut(yaml, "admins:")
		return before
	})
	if status, body := api("GET", "/api/revocations", ""); status != 403 {
		t.Errorf("without admins: %d %s", status, body)
	}
}

// What is broken elsewhere does not keep a revocation from being in force.
func TestRevocationBesideBrokenFiles(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	g.Write("ca.crt.denied", nil)
	g.Configure(withDenylist)
	cert := g.Cert("acme")
	token := "Authorization: Bearer " + g.Key("acme")
	client := g.Client(cert)
	for _, file := range []string{"server.crt", "ca.crt"} {
		t.Run(file, func(t *testing.T) {
			if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
				t.Fatalf("before: %s", res.Status)
			}
			g.Write(file, []byte("torn"))
			g.Write("ca.crt.denied", []byte("san:uri:"+cert.Leaf.URIs[0].String()+"\n"))
			if !servertest.WaitFor(func() bool {
				res, err := try(t, client, http.MethodGet, g.URL+"/tools", "", token)
				return err != nil || res.StatusCode == 401
			}, 5*time.Second) {
				t.Error("not in force")
			}
			g.Write("ca.crt", g.CA.PEM())
			g.CA.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}, IPs: []string{"127.0.0.1"}}).Write(t, g.Dir, "server")
			g.Write("ca.crt.denied", []byte("spki:nonsense\n")) // and a bad denylist keeps no certificate back
			if !servertest.WaitFor(func() bool { return shown(t, g).Equal(readLeaf(t, g.Dir+"/server.crt")) }, 5*time.Second) {
				t.Error("the new certificate is not shown")
			}
			if _, err := try(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", token); err == nil {
				t.Error("a bad denylist let in whom the good one denied")
			}
			g.Change("certificate", func() { g.Write("ca.crt.denied", nil) })
		})
	}
}

// What is wrong in the state store is told once, not at each try, and stands on the
// overview until it is gone.
func TestDenylistThatDoesNotLoad(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	g := servertest.Start(t, servertest.Options{Log: &log})
	bad, _, err := openStore(t, g).AddRevocation(t.Context(), store.Revocation{Entry: "nonsense"})
	if err != nil {
		t.Fatal(err)
	}
	told := func() bool {
		_, page := adminGet(t, g, http.MethodGet, "/", "")
		return strings.Contains(page, "The denylist in the state store: not loaded")
	}
	waitFor(t, 5*time.Second, told)
	time.Sleep(time.Second) // four tries
	if _, err := openStore(t, g).DeleteRevocation(t.Context(), bad.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 5*time.Second, func() bool { return !told() })
	<-g.Stop()
	if n := strings.Count(log.String(), "denylist of the state store not reloaded"); n != 1 {
		t.Errorf("told %d times", n)
	}
}
