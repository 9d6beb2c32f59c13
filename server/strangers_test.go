package server_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// Ten thousand peers, each with a name, tenant, tool, token, header, method and path
// that nobody has used before: nothing of theirs is in any series, and the second
// half, who do what the first did under other names, leaves none of its own.
func TestScaleStrangers(t *testing.T) {
	atScale(t)
	const strangers = 10_000
	issuer := servertest.NewIssuer(t)
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		return yaml + "  - {id: \"{who}\", sans: [\"uri:spiffe://example.org/fleet/{who}/*\"], secondFactor: optional, tools: {allow: [echo, whoami]}}\n" + issuer.Config()
	}})
	const mark = "zq7" // in all they say
	r, words := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, 4))
	word := func() string { return fmt.Sprintf("%s%08x", mark, words.Uint32()) }
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	ca, stranger := g.CA, pkitest.NewCA(t, mark)
	series := 0
	for i := range strangers {
		if i == strangers/2 {
			r = rand.New(rand.NewPCG(1, 2))
			series = g.Series()
			g.Configure(func(yaml string) string {
				return strings.Replace(yaml, "[echo, whoami]", "[echo, whoami, certificate_inspect]", 1)
			}) // and a reload keeps none
		}
		from := ca
		if r.IntN(20) == 0 {
			from = stranger
		}
		cert := from.Issue(t, pkitest.Leaf{URIs: []string{pick("spiffe://example.org/fleet/"+word()+"/agent", "spiffe://example.org/tenant/acme/"+word(), "spiffe://example.org/"+word())}})
		c := g.Client(cert, func(tr *http.Transport) { tr.ForceAttemptHTTP2 = r.IntN(2) == 0 })
		path := pick("/tools", "/tool/"+word()+"/call", "/tool/echo/call", "/tool/gate_certificates/call", "/mcp", "/mcp", "/health", "/"+word())
		body := pick(`{"message":"`+word()+`"}`, `{"arguments":{"message":"`+word()+`"}}`, word(),
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+pick("echo", word())+`","arguments":{"message":"x"}}}`,
			`{"jsonrpc":"2.0","id":1,"method":"`+word()+`"}`)
		headers := []string{asJSON, "Accept: application/json, text/event-stream", "MCP-Protocol-Version: " + pick("2025-11-25", "2026-07-28", word())}
		switch r.IntN(6) {
		case 0:
		case 1:
			headers = append(headers, jwtOf(g.Key("acme")))
		case 2:
			headers = append(headers, jwtOf(issuer.Token(issuer.Claims(word()))))
		case 3:
			headers = append(headers, jwtOf(issuer.Token(issuer.Claims("acme").With(servertest.Claims{"iss": "https://" + word(), "aud": word()}))))
		case 4:
			headers = append(headers, "Authorization: "+word()+" "+word())
		default:
			headers = append(headers, jwtOf(word()))
		}
		if r.IntN(3) == 0 {
			headers = append(headers, "X-Octopus-Tenant-Id: "+pick("acme", word()))
		}
		method := pick(http.MethodPost, http.MethodPost, http.MethodPost, http.MethodGet, http.MethodDelete, word())
		_, _ = try(t, c, method, g.URL+path, body, headers...) // refused at the handshake, too
		c.CloseIdleConnections()
	}
	if got := g.Series(); got != series || series == 0 {
		t.Errorf("%d series after %d strangers, %d after %d", got, strangers, series, strangers/2)
	}
	if text := scrape(t, g, ""); bytes.Contains(text, []byte(mark)) {
		t.Errorf("a stranger is in the metrics:\n%s", text)
	}
	by := g.By("sangate_auth_decisions_total", "reason")
	for _, reason := range []string{"ok", "san_unmapped", "token_missing", "token_unknown", "token_issuer", "tenant_mismatch", "header_mismatch", "tool_denied"} {
		if by[reason] == 0 {
			t.Errorf("no stranger has met %s: %v", reason, by)
		}
	}
}
