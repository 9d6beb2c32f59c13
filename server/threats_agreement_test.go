package server_test

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/servertest"
)

// everywhere asks in both dialects.
func everywhere(t *testing.T, g *servertest.Gate, client *http.Client, headers ...string) []*http.Response {
	t.Helper()
	mcp := append([]string{asJSON, accept, "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: whoami"}, headers...)
	return []*http.Response{
		ask(t, client, http.MethodGet, g.URL+"/tools", "", headers...),
		ask(t, client, http.MethodPost, g.URL+"/tool/whoami/call", "{}", append([]string{asJSON}, headers...)...),
		ask(t, client, http.MethodPost, g.URL+"/mcp", stateless("tools/call", `"name":"whoami","arguments":{},`), mcp...),
	}
}

// TestAgreement holds a promise of docs/security.md.
//
// Holds: client/factors-agree
func TestAgreement(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return yaml + `
  - {id: initech, secondFactor: optional, sans: ["uri:spiffe://example.org/tenant/initech/*"]}
  - {id: umbrella, secondFactor: none, sans: ["uri:spiffe://example.org/tenant/umbrella/*"]}
  - {id: "{tenant}", sans: ["uri:spiffe://example.org/fleet/{tenant}/agent/*"]}
`
	}})
	clients := make(map[string]*http.Client)
	for _, tenant := range []string{"acme", "globex", "initech", "umbrella"} {
		clients[tenant] = g.Client(g.Cert(tenant))
	}
	for _, tenant := range []string{"f1", "f2"} {
		clients[tenant] = g.Client(g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/fleet/" + tenant + "/agent/1"}}))
	}
	token := func(key string) string { return "Authorization: Bearer " + key }
	header := func(tenant string) string { return "X-Octopus-Tenant-Id: " + tenant }
	acme, globex := token(g.Key("acme")), token(g.Key("globex"))
	f1, _ := addKey(t, g, clients["f1"], "f1")
	stranger, _, err := apikey.Mint()
	if err != nil {
		t.Fatal(err)
	}
	const missing, invalid, forbidden = "Missing or invalid Authorization header.", "Invalid token.", "Not allowed."
	for _, tc := range []struct {
		name, cert string
		headers    []string
		status     int
		message    string
		reason     string
		label      string // of the tenant
	}{
		{"acme", "acme", []string{acme}, 200, "", "ok", "acme"},
		{"acme, header acme", "acme", []string{acme, header("acme")}, 200, "", "ok", "acme"},
		{"globex", "globex", []string{globex, header("globex")}, 200, "", "ok", "globex"},
		{"acme, no token", "acme", nil, 401, missing, "token_missing", "acme"},
		{"acme, no token, header", "acme", []string{header("acme")}, 401, missing, "token_missing", "acme"},
		{"acme, unknown token", "acme", []string{token(stranger)}, 401, invalid, "token_unknown", "acme"},
		{"acme, not a key", "acme", []string{token("x")}, 401, invalid, "token_unknown", "acme"},
		{"acme, token of globex", "acme", []string{globex}, 403, forbidden, "tenant_mismatch", "acme"},
		{"globex, token of acme", "globex", []string{acme}, 403, forbidden, "tenant_mismatch", "globex"},
		{"acme, header globex", "acme", []string{acme, header("globex")}, 403, forbidden, "header_mismatch", "acme"},
		{"acme, token and header of globex", "acme", []string{globex, header("globex")}, 403, forbidden, "tenant_mismatch", "acme"},
		{"acme, token of globex, header acme", "acme", []string{globex, header("acme")}, 403, forbidden, "tenant_mismatch", "acme"},
		{"acme, header of nobody", "acme", []string{acme, header("nobody")}, 403, forbidden, "header_mismatch", "acme"},

		{"optional, none sent", "initech", nil, 200, "", "ok", "initech"},
		{"optional, another's", "initech", []string{acme}, 403, forbidden, "tenant_mismatch", "initech"},
		{"optional, unknown", "initech", []string{token(stranger)}, 401, invalid, "token_unknown", "initech"},
		{"optional, another scheme", "initech", []string{"Authorization: Basic YTpi"}, 401, missing, "token_missing", "initech"},
		{"optional, header acme", "initech", []string{header("acme")}, 403, forbidden, "header_mismatch", "initech"},
		{"without, none sent", "umbrella", nil, 200, "", "ok", "umbrella"},
		{"without, another's", "umbrella", []string{acme}, 200, "", "ok", "umbrella"},
		{"without, header acme", "umbrella", []string{header("acme")}, 403, forbidden, "header_mismatch", "umbrella"},

		{"captured", "f1", []string{token(f1), header("f1")}, 200, "", "ok", "{tenant}"},
		{"captured, token of a sister", "f2", []string{token(f1)}, 403, forbidden, "tenant_mismatch", "{tenant}"},
		{"captured, header of a sister", "f1", []string{token(f1), header("f2")}, 403, forbidden, "header_mismatch", "{tenant}"},
		{"captured, token of acme", "f1", []string{acme}, 403, forbidden, "tenant_mismatch", "{tenant}"},
		{"captured, no token", "f2", nil, 401, missing, "token_missing", "{tenant}"},
		{"acme, token of a captured", "acme", []string{token(f1)}, 403, forbidden, "tenant_mismatch", "acme"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reasons, tenants := g.By(decisions, "reason"), g.By(decisions, "tenant")
			for _, res := range everywhere(t, g, clients[tc.cert], tc.headers...) {
				if tc.status != 200 {
					code := map[int]string{401: "unauthorized", 403: "forbidden"}[tc.status]
					if body := wantError(t, res, tc.status, code); string(body["message"]) != fmt.Sprintf("%q", tc.message) {
						t.Errorf("message %s, want %q", body["message"], tc.message)
					}
					continue
				}
				body, _ := io.ReadAll(res.Body)
				if res.StatusCode != 200 || res.Request.URL.Path != "/tools" && !strings.Contains(string(body), fmt.Sprintf(`"tenant":%q`, tc.cert)) {
					t.Errorf("%s: %s %s", res.Request.URL.Path, res.Status, body)
				}
			}
			wantChange(t, g, decisions, "reason", reasons, map[string]float64{tc.reason: 3})
			wantChange(t, g, decisions, "tenant", tenants, map[string]float64{tc.label: 3})
		})
	}
}

// What proxies put into headers about a certificate proves nothing.
//
// Holds: client/forwarded-certificate
func TestForwardedCertificatesAreIgnored(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	other := g.Cert("globex")
	der := base64.StdEncoding.EncodeToString(other.Leaf.Raw)
	forged := []string{
		"Client-Cert: :" + der + ":", "Client-Cert-Chain: :" + der + ":",
		"X-Forwarded-Client-Cert: By=spiffe://x/y;URI=spiffe://example.org/tenant/globex/agent;Cert=\"" + der + "\"",
		"X-Client-Cert: " + der, "Ssl-Client-Cert: " + der, "X-SSL-Client-S-DN: CN=globex", "X-Forwarded-For: 127.0.0.1",
	}
	client := g.Client(g.Cert("acme"))
	for _, res := range everywhere(t, g, client, append(forged, "Authorization: Bearer "+g.Key("acme"))...)[1:] {
		if body, _ := io.ReadAll(res.Body); res.StatusCode != 200 || !strings.Contains(string(body), `"tenant":"acme"`) || strings.Contains(string(body), "globex") {
			t.Errorf("%s %s, want acme", res.Status, body)
		}
	}
	for _, res := range everywhere(t, g, client, append(forged, "Authorization: Bearer "+g.Key("globex"))...) {
		wantError(t, res, 403, "forbidden")
	}
	if _, err := try(t, g.Client(nil), http.MethodGet, g.URL+"/tools", "", append(forged, "Authorization: Bearer "+g.Key("globex"))...); err == nil {
		t.Error("a header stood for the certificate")
	}
}

// wantSame compares two answers byte for byte, but for their request ids and
// the names that were asked for.
func wantSame(t *testing.T, a, b *http.Response, nameA, nameB string) {
	t.Helper()
	text := func(res *http.Response, name string) string {
		body, _ := io.ReadAll(res.Body)
		h := res.Header.Clone()
		h.Del("Date")
		out := fmt.Sprint(res.Status, " ", string(body), " ", h) // maps are printed in order
		if id := h.Get("X-Request-Id"); id != "" {
			out = strings.ReplaceAll(out, id, "<id>")
		}
		return strings.ReplaceAll(out, name, "<name>")
	}
	if x, y := text(a, nameA), text(b, nameB); x != y {
		t.Errorf("two answers that should be one:\n%s\n%s", x, y)
	}
}

// A tool that is denied is not there: not in the list, and called by its name
// it is unknown, in both dialects and in every revision.
//
// Holds: tenant/denied-is-unknown
func TestDeniedIsUnknown(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{Tools: mcpTools(t), Config: allowTools})
	client, token := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
	call := func(name string) *http.Response {
		return ask(t, client, http.MethodPost, g.URL+"/tool/"+name+"/call", "{}", token, asJSON)
	}
	mcp := func(revision, method, name string) *http.Response {
		headers := []string{token, asJSON, accept, "MCP-Protocol-Version: " + revision}
		params := fmt.Sprintf(`"name":%q,"arguments":{}`, name)
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, method, params)
		if revision == "2026-07-28" {
			body = stateless(method, params+",")
			headers = append(headers, "Mcp-Method: "+method, "Mcp-Name: "+name)
		}
		return ask(t, client, http.MethodPost, g.URL+"/mcp", body, headers...)
	}
	before := g.By(decisions, "reason")
	denied := call("globex_only")
	wantSame(t, denied, call("never_was_1"), "globex_only", "never_was_1")
	wantError(t, call("globex_only"), 404, "not_found")
	for _, revision := range revisions {
		denied := mcp(revision, "tools/call", "globex_only")
		wantSame(t, denied, mcp(revision, "tools/call", "never_was_1"), "globex_only", "never_was_1")
		if body, _ := io.ReadAll(mcp(revision, "tools/call", "globex_only").Body); !strings.Contains(string(body), `"error"`) {
			t.Errorf("%s: %s", revision, body)
		}
	}
	wantChange(t, g, decisions, "reason", before, map[string]float64{"tool_denied": 10, "ok": 5})

	lists := []*http.Response{ask(t, client, http.MethodGet, g.URL+"/tools", "", token)}
	for _, revision := range revisions {
		lists = append(lists, mcp(revision, "tools/list", "x"))
	}
	for i, res := range lists {
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 || !strings.Contains(string(body), `"whoami"`) || strings.Contains(string(body), "globex") {
			t.Errorf("list %d: %s %s", i, res.Status, body)
		}
		cache := res.Header.Get("Cache-Control")
		if strings.Contains(cache, "public") || !strings.Contains(cache, "private") && !strings.Contains(cache, "no-") {
			t.Errorf("list %d: Cache-Control %q", i, cache)
		}
	}
}

// forge makes a key of that id with another secret, whose checksum is right.
func forge(key, secret string) string {
	const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	body := key[:16] + secret
	sum := []byte("000000")
	for i, n := 5, crc32.ChecksumIEEE([]byte(body)); i >= 0; i, n = i-1, n/62 {
		sum[i] = base62[n%62]
	}
	return body + string(sum)
}

// An id that is not there and a secret that is not right are one answer.
//
// Holds: client/key-guessing
func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	g := servertest.Start(t, servertest.Options{})
	client := g.Client(g.Cert("acme"))
	unknown, _, err := apikey.Mint()
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := apikey.Mint()
	if err != nil {
		t.Fatal(err)
	}
	key := g.Key("acme")
	forged := forge(key, other[16:59])
	if id, ok := apikey.Parse(forged); !ok || id != key[4:15] {
		t.Fatalf("the forged key is not one of acme's id: %q", id)
	}
	before := g.By(decisions, "reason")
	list := func(key string) *http.Response {
		return ask(t, client, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+key)
	}
	for _, wrong := range []string{forged, key[:16] + other[16:], key[:len(key)-1], key[:40] + other[40:], strings.ToLower(key)} {
		wantSame(t, list(wrong), list(unknown), wrong, unknown)
	}
	wantChange(t, g, decisions, "reason", before, map[string]float64{"token_unknown": 10})
}

// No number of names that peers choose makes a metric series.
//
// Holds: stranger/metric-series
func TestSeriesStayTheSame(t *testing.T) {
	i := servertest.NewIssuer(t)
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return yaml + "  - {id: \"{tenant}\", secondFactor: optional, sans: [\"dns:{tenant}.fleet.example\"]}\n" + i.Config()
	}})
	token := "Authorization: Bearer " + g.Key("acme")
	random := func() string { return fmt.Sprintf("t%016x", rand.Uint64()) }
	fleet := func(names int) *http.Client {
		leaf := pkitest.Leaf{DNS: []string{random() + ".fleet.example"}}
		for range names - 1 {
			leaf.DNS = append(leaf.DNS, random()+".else.example")
		}
		return g.Client(g.CA.Issue(t, leaf))
	}
	acme := g.Client(g.Cert("acme"))
	round := func(names int) {
		ask(t, acme, http.MethodPost, g.URL+"/tool/"+random()+"/call", "{}", token, asJSON)
		ask(t, acme, http.MethodPost, g.URL+"/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q}}`, random()), token, asJSON, accept)
		ask(t, acme, "X"+strings.ToUpper(random()), g.URL+"/"+random(), "", token, "X-Octopus-Tenant-Id: "+random())
		ask(t, acme, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+random())
		ask(t, acme, http.MethodGet, g.URL+"/tools", "", token, "X-Octopus-Tenant-Id: "+random())
		ask(t, acme, http.MethodGet, g.URL+"/tools", "", jwtOf(i.Sign(claims{"alg": "ES256", "kid": random()}, i.Claims(random()).With(claims{"iss": "https://" + random() + ".example"}))))
		if names > 0 {
			client := fleet(names)
			if res := ask(t, client, http.MethodPost, g.URL+"/tool/whoami/call", ""); res.StatusCode != 200 {
				t.Fatalf("whoami of a fleet's tenant: %s", res.Status)
			}
			client.CloseIdleConnections()
		}
	}
	round(1)
	before := g.Series()
	for i := range rounds(5_000) { // two tools each
		round(map[bool]int{true: 50}[i%25 == 0]) // 200 certificates, 10,000 names
	}
	if after := g.Series(); after != before {
		t.Errorf("%d series, %d before", after, before)
	}
}
