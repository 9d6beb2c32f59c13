package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// Requests that take much memory when they are decoded are refused if their tenant has
// too many of them in progress, on both dialects, while they are read as well, and those
// of other tenants are not.
//
// Holds: client/request-memory
func TestRequestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	wait, began, release := waiting(t)
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{wait}, Config: withLimits("requestBytes: 4000000")})
	c, token := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
	dense := `{"arguments":{"x":[` + strings.Repeat(`{},`, 20_000) + `0]}}` // 60 kB, and 2 MB when decoded
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wait",` + dense[1:] + `}`
	running := start(t, c, g.URL+"/tool/wait/call", dense, asJSON, token)
	<-began
	other := start(t, g.Client(g.Cert("globex")), g.URL+"/tool/wait/call", dense, asJSON, "Authorization: Bearer "+g.Key("globex"))
	<-began
	before := g.By(decisions, "reason")
	tooMany(t, ask(t, c, http.MethodPost, g.URL+"/tool/wait/call", dense, asJSON, token))
	tooMany(t, ask(t, c, http.MethodPost, g.URL+"/mcp", call, asJSON, accept, token))
	wantChange(t, g, decisions, "reason", before, map[string]float64{"ok": 1, "rate_limited": 2})
	if res := ask(t, c, http.MethodPost, g.URL+"/tool/echo/call", `{"message":"small"}`, asJSON, token); res.StatusCode != 200 {
		t.Errorf("a small one beside it: %s", res.Status)
	}
	close(release)
	for _, call := range []<-chan outcome{running, other} {
		if got := <-call; got.err != nil || got.res.StatusCode != 200 {
			t.Errorf("%v, %v", got.res, got.err)
		}
	}
	if res := ask(t, c, http.MethodPost, g.URL+"/tool/wait/call", dense, asJSON, token); res.StatusCode != 200 {
		t.Errorf("after they have ended: %s", res.Status)
	}
	<-began
}

// A message that the MCP SDK answers counts for what the SDK takes to read it, too.
//
// Holds: client/request-memory
func TestMessagesForTheSDKCountMore(t *testing.T) {
	t.Parallel()
	wait, began, release := waiting(t)
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{wait}, Config: withLimits("requestBytes: 4000000")})
	c, headers := g.Client(g.Cert("acme")), []string{asJSON, "Authorization: Bearer " + g.Key("acme"),
		"Accept: text/event-stream, application/json", "MCP-Protocol-Version: 2025-11-25"}
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wait","arguments":{"x":"` +
		strings.Repeat("x", 200_000) + `"}}}`
	running := start(t, c, g.URL+"/mcp", call, headers...)
	<-began
	tooMany(t, ask(t, c, http.MethodPost, g.URL+"/mcp", call, headers...))
	others(t, g)
	close(release)
	if got := <-running; got.err != nil || got.res.StatusCode != 200 {
		t.Errorf("%v, %v", got.res, got.err)
	}
}

// A body that does not arrive takes the memory that it may need.
//
// Holds: client/request-memory
func TestBodiesThatDoNotArriveAreBounded(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"by length": "Content-Length: 900000\r\n\r\n",
		"in chunks": "Transfer-Encoding: chunked\r\n\r\n11170\r\n" + strings.Repeat(" ", 0x11170) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			g := servertest.Start(t, servertest.Options{Config: withLimits("requestBytes: 4000000")})
			conn := unreadOver1(t, g, []byte("POST /tool/echo/call HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+
				"Authorization: Bearer "+g.Key("acme")+"\r\n"+head))
			body := `{"message":"` + strings.Repeat("x", 100_000) + `"}`
			one := g.Client(g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/other"}}))
			refused := func() bool {
				res := ask(t, one, http.MethodPost, g.URL+"/tool/echo/call", body, asJSON, "Authorization: Bearer "+g.Key("acme"))
				return res.StatusCode == http.StatusTooManyRequests
			}
			if !servertest.WaitFor(refused, 5*time.Second) {
				t.Error("another of its tenant is not refused")
			}
			others(t, g)
			_ = conn.NetConn().Close()
			if !servertest.WaitFor(func() bool { return !refused() }, 5*time.Second) {
				t.Error("refused after the connection is closed")
			}
		})
	}
}
