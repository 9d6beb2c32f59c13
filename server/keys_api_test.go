package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/store"
	"github.com/sangate/sangate/server/tool"
)

type mintedKey struct{ ID, Tenant, Key, SHA256, NotAfter string }

type listedKey struct{ ID, Tenant, Description, Source, State, LastUsed, NotAfter string }

func keysOf(t *testing.T, body string) map[string]listedKey {
	t.Helper()
	var list []listedKey
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	byID := make(map[string]listedKey)
	for _, k := range list {
		byID[k.ID] = k
	}
	return byID
}

// A key that an admin mints is good when the answer comes, its successor beside
// it, and a revoked one ends what it runs. No list shows a key.
func TestKeysAPI(t *testing.T) {
	t.Parallel()
	wait, began, release := waiting(t)
	defer close(release)
	var log strings.Builder
	g, api := administered(t, servertest.Options{Tools: []*tool.Tool{wait}, Log: &log})
	cert := g.Cert("acme")
	mint := func(path, body string) (m mintedKey) {
		t.Helper()
		status, got := api("POST", path, body)
		if err := json.Unmarshal([]byte(got), &m); err != nil || status != 201 || !strings.HasPrefix(m.Key, "sgk_"+m.ID+"_") {
			t.Fatalf("%s %s: %d %s", path, body, status, got)
		}
		return m
	}
	list := func() map[string]listedKey {
		t.Helper()
		_, body := api("GET", "/api/keys?tenant=acme", "")
		if strings.Contains(body, "sgk_") || strings.Contains(body, "globex") {
			t.Errorf("the list shows too much: %s", body)
		}
		return keysOf(t, body)
	}
	call := func(m mintedKey, want int) {
		t.Helper()
		if res := ask(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+m.Key); res.StatusCode != want {
			t.Errorf("with key %s: %s, want %d", m.ID, res.Status, want)
		}
	}
	first := mint("/api/keys", `{"tenant":"acme","description":"agent 7","lifetime":"1h"}`)
	call(first, 200)
	if k := list()[first.ID]; k.Tenant != "acme" || k.Description != "agent 7" || k.Source != "store" || k.State != "live" || k.NotAfter != first.NotAfter {
		t.Errorf("listed as %+v", k)
	}
	next := mint("/api/keys/"+first.ID+"/rotate", `{"overlap":"10m"}`)
	call(first, 200)
	call(next, 200)
	now := list()
	end, err := time.Parse(time.RFC3339, now[first.ID].NotAfter)
	if left := time.Until(end); err != nil || left > 10*time.Minute || left < 9*time.Minute || now[next.ID].Description != "agent 7" {
		t.Errorf("after the rotation: %+v", now)
	}
	third := mint("/api/keys/"+next.ID+"/rotate", `{"overlap":"0s"}`)
	call(next, 401)
	call(third, 200)

	running := start(t, g.Client(cert), g.URL+"/tool/wait/call", "{}", asJSON, "Authorization: Bearer "+third.Key)
	select {
	case <-began:
	case o := <-running:
		t.Fatalf("before: %+v", o)
	}
	if status, body := api("DELETE", "/api/keys/"+third.ID, ""); status != 204 {
		t.Fatalf("revoke: %d %s", status, body)
	}
	select {
	case o := <-running:
		if o.err != nil {
			t.Fatal(o.err)
		}
		wantError(t, o.res, 401, "unauthorized")
	case <-time.After(second):
		t.Fatal("the call of a revoked key goes on")
	}
	call(third, 401)
	if k := list()[third.ID]; k.State != "revoked" {
		t.Errorf("listed as %+v", k)
	}
	// An admin's key, for a second admin; the certificate is needed all the same.
	ops := mint("/api/keys", `{"tenant":"@admins"}`)
	client := g.Client(g.CA.Issue(t, pkitest.Leaf{Emails: []string{opsName}}))
	if res := ask(t, client, http.MethodGet, g.URL+"/api/keys", "", "Authorization: Bearer "+ops.Key); res.StatusCode != 200 {
		t.Errorf("with another admin's key: %s", res.Status)
	}
	call(ops, 403)
	<-g.Stop()
	kept, err := store.Open(t.Context(), filepath.Join(g.Dir, "state"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	records, err := kept.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if since := time.Since(r.LastUsed); since < 0 || since > time.Minute {
			t.Errorf("key %s was used last at %v", r.ID, r.LastUsed)
		}
	}
	for _, m := range []mintedKey{first, next, third, ops} {
		if strings.Contains(log.String(), m.Key) {
			t.Errorf("key %s is in the log", m.ID)
		}
	}
}

func TestKeysAPIRefuses(t *testing.T) {
	t.Parallel()
	g, api := administered(t, servertest.Options{})
	configured := ""
	_, body := api("GET", "/api/keys?tenant=acme", "")
	for id := range keysOf(t, body) {
		configured = id
	}
	if configured == "" {
		t.Fatal("the configuration's key is not listed")
	}
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		code               string
	}{
		"no tenant":           {"POST", "/api/keys", `{}`, 400, "bad_request"},
		"unknown tenant":      {"POST", "/api/keys", `{"tenant":"nobody"}`, 400, "bad_request"},
		"negative lifetime":   {"POST", "/api/keys", `{"tenant":"acme","lifetime":"-1h"}`, 400, "bad_request"},
		"lifetime of days":    {"POST", "/api/keys", `{"tenant":"acme","lifetime":"7d"}`, 400, "bad_request"},
		"control byte":        {"POST", "/api/keys", `{"tenant":"acme","description":"a\nb"}`, 400, "bad_request"},
		"a key of one's own":  {"POST", "/api/keys", `{"tenant":"acme","key":"sgk_x"}`, 400, "bad_request"},
		"rotate, no overlap":  {"POST", "/api/keys/" + configured + "/rotate", `{}`, 400, "bad_request"},
		"rotate a configured": {"POST", "/api/keys/" + configured + "/rotate", `{"overlap":"1h"}`, 409, "conflict"},
		"revoke a configured": {"DELETE", "/api/keys/" + configured, "", 409, "conflict"},
		"rotate an unknown":   {"POST", "/api/keys/00000000000/rotate", `{"overlap":"1h"}`, 404, "not_found"},
		"revoke an unknown":   {"DELETE", "/api/keys/00000000000", "", 404, "not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := api(tt.method, tt.path, tt.body)
			if status != tt.status || !strings.Contains(body, `"error":"`+tt.code+`"`) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	if _, after := api("GET", "/api/keys?tenant=acme", ""); after != body {
		t.Errorf("something was changed: %s", after)
	}
	if res := ask(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+"/api/keys", "", "Authorization: Bearer "+g.Key("acme")); res.StatusCode != 403 {
		t.Errorf("a tenant at /api/keys: %s", res.Status)
	}
}

// A pinned key is good with the certificates it is pinned to: another of the
// same tenant is refused, a renewed one only where the pin is a name.
func TestPinnedKeys(t *testing.T) {
	t.Parallel()
	g, api := administered(t, servertest.Options{})
	agent := pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/agent-7"}}
	cert, renewed, other := g.CA.Issue(t, agent), g.CA.Issue(t, agent), g.Cert("acme")
	mint := func(pin string) mintedKey {
		t.Helper()
		status, body := api("POST", "/api/keys", `{"tenant":"acme",`+pin+`}`)
		var m mintedKey
		if err := json.Unmarshal([]byte(body), &m); err != nil || status != 201 {
			t.Fatalf("%s: %d %s", pin, status, body)
		}
		return m
	}
	sum := hex.EncodeToString(func() []byte { s := sha256.Sum256(cert.Leaf.Raw); return s[:] }())
	byName := mint(`"san":"uri:spiffe://example.org/tenant/acme/agent-7"`)
	byPattern := mint(`"san":"uri:spiffe://example.org/tenant/acme/*"`)
	byCert := mint(`"certificate":"` + sum + `"`)
	byBoth := mint(`"san":"uri:spiffe://example.org/tenant/acme/other","certificate":"` + sum + `"`)
	status, body := api("POST", "/api/keys/"+byCert.ID+"/rotate", `{"overlap":"1h"}`)
	var rotated mintedKey
	if err := json.Unmarshal([]byte(body), &rotated); err != nil || status != 201 {
		t.Fatalf("rotate: %d %s", status, body)
	}
	before := g.By(decisions, "reason")
	refused := 0.0
	for name, tc := range map[string]struct {
		key  mintedKey
		cert *pkitest.Cert
		want int
	}{
		"name":                     {byName, cert, 200},
		"name, renewed":            {byName, renewed, 200},
		"name, another":            {byName, other, 401},
		"pattern, another":         {byPattern, other, 200},
		"certificate":              {byCert, cert, 200},
		"certificate, renewed":     {byCert, renewed, 401},
		"both, of which one fits":  {byBoth, cert, 401},
		"a rotated key's, its own": {rotated, cert, 200},
		"a rotated key's, renewed": {rotated, renewed, 401},
	} {
		res := ask(t, g.Client(tc.cert), http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+tc.key.Key)
		if res.StatusCode != tc.want {
			t.Errorf("%s: %s, want %d", name, res.Status, tc.want)
		}
		if tc.want == 401 {
			refused++
		}
	}
	wantChange(t, g, decisions, "reason", before, map[string]float64{"ok": 5, "binding_mismatch": refused})
	for _, bad := range []string{`"san":"cn:agent"`, `"san":"uri:spiffe://example.org/{tenant}/x"`, `"certificate":"12"`} {
		if status, body := api("POST", "/api/keys", `{"tenant":"acme",`+bad+`}`); status != 400 {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
	_, list := api("GET", "/api/keys?tenant=acme", "")
	if !strings.Contains(list, `"certificate":"`+sum+`"`) || !strings.Contains(list, `"san":"uri:spiffe://example.org/tenant/acme/agent-7"`) {
		t.Errorf("the list does not tell pins: %s", list)
	}
	// Those of the configuration, too.
	key, id, err := apikey.Mint()
	if err != nil {
		t.Fatal(err)
	}
	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "keys: [", fmt.Sprintf("keys: [{id: %s, sha256: \"%x\", san: \"uri:spiffe://example.org/tenant/acme/agent-7\"}, ", id, apikey.Digest(key)), 1)
	})
	for cert, want := range map[*pkitest.Cert]int{renewed: 200, other: 401} {
		if res := ask(t, g.Client(cert), http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+key); res.StatusCode != want {
			t.Errorf("a configured key: %s, want %d", res.Status, want)
		}
	}
}
