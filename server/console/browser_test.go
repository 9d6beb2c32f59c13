package console_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

var update = flag.Bool("update", false, "take the screenshots in docs/ anew")

// shots are those that docs/ has.
const shots = "refusals-1280.pnglight certificates-380.pngdark"

// lively is a gate with something in every view: an upstream that is there and one
// that is not, lists, a call in progress, refusals of both kinds.
func lively(t *testing.T) *servertest.Gate {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"name":"zendesk_get_ticket","description":"A ticket.","inputSchema":{"type":"object"}}]`)
	}))
	t.Cleanup(up.Close)
	wait := &tool.Tool{Name: "wait", InputSchema: json.RawMessage(`{"type":"object"}`), Handler: func(ctx context.Context, _ *tool.Call) (*tool.Result, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	g := servertest.Start(t, servertest.Options{Tools: []*tool.Tool{wait}, NextRenewal: in(20 * time.Minute), Files: map[string]string{"denylist": "serial:01\nserial:02\n"}, Config: func(yaml string) string {
		yaml = strings.Replace(yaml, "    keys:", "    tools: {allow: [wait, echo, \"zendesk_*\"], deny: [zendesk_delete_ticket]}\n    keys:", 1)
		return yaml + fmt.Sprintf("limits: {toolTimeout: 5m, drainTimeout: 10ms}\negress: {allow: [127.0.0.0/8]}\nmcpServers:\n  - {name: zendesk, baseUrl: %q, protocol: octopus}\n  - {name: crm, baseUrl: \"http://127.0.0.1:1\"}\n", up.URL)
	}})
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(26 * time.Hour)}, g.CA.Cert, g.CA.Key())
	if err != nil {
		t.Fatal(err)
	}
	g.Write("clients.crl", der)
	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "clientCA:", "revocation: {crl: [clients.crl], denylist: denylist}, clientCA:", 1)
	})
	client := g.Client(g.Cert("acme"))
	lasting := *client
	lasting.Timeout = 0
	go call(t, &lasting, g.URL+"/tool/wait/call", g.Key("acme"))
	call(t, client, g.URL+"/tool/echo/call", g.Key("acme"))
	call(t, client, g.URL+"/tool/echo/call", g.Key("globex"))
	call(t, g.Client(g.Cert("initech")), g.URL+"/tool/echo/call", "")
	call(t, g.Client(pkitest.NewCA(t, "Another CA").Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/old"}})), g.URL+"/tool/echo/call", "")
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_streams_open") == 1 }, 5*time.Second) {
		t.Fatal("the call in progress does not begin")
	}
	return g
}

// in is a renewal that is planned so much later than now.
func in(d time.Duration) func() time.Time {
	at := time.Now().Add(d)
	return func() time.Time { return at }
}

func call(t *testing.T, c *http.Client, url, key string) int {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"message":"m"}`))
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := c.Do(req)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// Each view, in a real Chromium: wide and narrow, light and dark, followed live,
// without an error on its console and without what axe objects to.
func TestInBrowser(t *testing.T) {
	g, b := lively(t), servertest.NewBrowser(t)
	for _, view := range []struct{ path, title, says string }{
		{"/", "Overview", "tenant_mismatch"},
		{"/refusals", "Refusals", "says it is spiffe://example.org/tenant/acme/old"},
		{"/certificates", "Certificates", "renewed in"},
		{"/tenants", "Tenants", "uri:spiffe://example.org/tenant/globex/*"},
		{"/connections", "Connections", "POST /tool/wait/call"},
		{"/upstreams", "Upstreams", "connection refused"},
		{"/documents", "Documents", "None is configured"},
		{"/reasons", "Reasons", "binding_missing"},
	} {
		for _, width := range []int{1280, 380} {
			for _, theme := range []string{"light", "dark"} {
				t.Run(fmt.Sprintf("%s %d %s", view.title, width, theme), func(t *testing.T) {
					b := b.In(t)
					a := b.Do("open", "url", g.AdminURL+view.path, "width", width, "theme", theme)
					if a.Status != 200 || a.Title != view.title+" · sangate" || a.Wide {
						t.Errorf("%+v", a)
					}
					b.Do("wait", "selector", "main", "text", view.says)
					if a := b.Do("axe"); len(a.Violations) > 0 {
						t.Errorf("axe:\n%s", strings.Join(a.Violations, "\n"))
					}
					if a := b.Do("troubles"); len(a.Troubles) > 0 {
						t.Errorf("console: %s", a.Troubles)
					}
					if name := fmt.Sprintf("%s-%d.png", strings.ToLower(view.title), width); *update && strings.Contains(shots, name+theme) {
						b.Do("shot", "file", filepath.Join("../../docs/console", name))
					}
				})
			}
		}
	}
}

// A view follows what happens, keeps what one has opened, is gone through by
// keyboard, and works without scripts.
func TestFollows(t *testing.T) {
	g, b := lively(t), servertest.NewBrowser(t)
	b.Do("open", "url", g.AdminURL+"/upstreams")
	b.Do("click", "selector", "#tools-zendesk summary")
	b.Do("wait", "selector", "#tools-zendesk li", "text", "zendesk_get_ticket")
	g.Configure(func(yaml string) string { return yaml + "  - {name: billing, baseUrl: \"http://127.0.0.1:2\"}\n" })
	b.Do("wait", "selector", "#u-billing", "text", "unavailable")
	if a := b.Do("text", "selector", "#tools-zendesk"); !strings.Contains(a.Text, "zendesk_get_ticket") {
		t.Errorf("what was open is closed by the next look: %q", a.Text)
	}

	b.Do("open", "url", g.AdminURL+"/refusals")
	call(t, g.Client(g.Cert("acme")), g.URL+"/tool/echo/call", "nobodys-key")
	if a := b.Do("wait", "selector", "main tbody tr:first-child", "text", "token_unknown"); a.MS > 5000 {
		t.Errorf("it took %v ms to be seen", a.MS)
	}
	call(t, g.Client(nil), g.URL+"/tools", "")
	b.Do("wait", "selector", "main tbody tr:first-child", "text", "no_certificate")
	b.Do("focus", "selector", "main tbody tr:first-child a")
	call(t, g.Client(pkitest.NewCA(t, "Another CA").Issue(t, pkitest.Leaf{})), g.URL+"/tools", "")
	b.Do("wait", "selector", "main tbody tr:nth-child(2)", "text", "no_certificate")
	if a := b.Do("at"); a.Text != "no_certificate" {
		t.Errorf("what was in focus is %q now", a.Text)
	}
	if a := b.Do("click", "selector", "main tbody a:has-text('token_unknown')"); !strings.HasSuffix(a.URL, "/reasons#token_unknown") {
		t.Errorf("the reason leads to %s", a.URL)
	}

	b.Do("open", "url", g.AdminURL+"/tenants")
	var way []string
	for range 12 {
		way = append(way, b.Do("press", "key", "Tab").At)
	}
	if want := "#view seen, / seen, /refusals seen, /certificates seen, /tenants seen, /connections seen, /upstreams seen, /documents seen, /reasons seen, q seen, BUTTON seen"; !strings.HasPrefix(strings.Join(way, ", "), want) {
		t.Errorf("the Tab key leads through %q", way)
	}
	b.Do("open", "url", g.AdminURL+"/tenants")
	for range 10 {
		b.Do("press", "key", "Tab")
	}
	b.Do("type", "text", "globex")
	time.Sleep(1500 * time.Millisecond) // a look later the field is still being written in
	b.Do("press", "key", "Enter")
	b.Do("wait", "selector", "caption", "text", "1 of 1")

	b.Do("open", "url", g.AdminURL+"/refusals", "script", false)
	if a := b.Do("text", "selector", "main"); !strings.Contains(a.Text, "tenant_mismatch") {
		t.Errorf("without scripts: %q", a.Text)
	}
	if a := b.Do("troubles"); len(a.Troubles) > 0 {
		t.Errorf("console: %s", a.Troubles)
	}
}

// Line ends in what strangers send end no event: a view goes on showing what it
// has shown, and them beside it, and nothing they wrote is an instruction.
func TestFollowsStrangers(t *testing.T) {
	g, b := servertest.Start(t, servertest.Options{}), servertest.NewBrowser(t)
	b.Do("open", "url", g.AdminURL+"/refusals")
	const name = "x\rretry: 86400000\r\rdata: All is well.\r\r"
	call(t, g.Client(pkitest.NewCA(t, "Another CA").Issue(t, pkitest.Leaf{CommonName: name})), g.URL+"/tools", "")
	b.Do("wait", "selector", "main tbody", "text", "All is well.")
	call(t, g.Client(g.CA.Issue(t, pkitest.Leaf{CommonName: name})), g.URL+"/tool/%0D%0Ddata:%20x%0D%0D/call", "")
	b.Do("wait", "selector", "main tbody", "text", "san_missing")
	if a := b.Do("text", "selector", "main"); !strings.HasPrefix(a.Text, "Refusals") {
		t.Errorf("the view is %q", a.Text)
	}
	for _, path := range paths {
		if _, body := get(t, http.MethodGet, g.AdminURL+path); strings.Contains(body, "\r") {
			t.Errorf("%s has line ends of others:\n%q", path, body)
		}
	}
}

// The page says whether what it shows is new: not where there is no place for it, where
// nothing comes any more though nobody has hung up, or where nobody looks; and each time
// it is followed again as soon as that can be.
func TestSaysWhetherItFollows(t *testing.T) {
	g, b := servertest.Start(t, servertest.Options{}), servertest.NewBrowser(t)
	follow := func() (res *http.Response) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.AdminURL+"/live?view=/upstreams", nil)
		if err == nil {
			res, err = http.DefaultClient.Do(req)
		}
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	b.Do("open", "url", g.AdminURL+"/upstreams")
	b.Do("hide")
	b.Do("wait", "selector", "#state", "text", "not followed")
	var others []*http.Response
	if !servertest.WaitFor(func() bool { // a place is free when the gate has seen that somebody left it
		res := follow()
		if res.StatusCode == http.StatusOK {
			others = append(others, res)
			return len(others) == 32
		}
		_ = res.Body.Close()
		return false
	}, 10*time.Second) {
		t.Fatalf("a page that nobody sees holds a place: %d others have one", len(others))
	}
	b.Do("show")
	b.Do("wait", "selector", "#state", "text", "no more views")
	for _, res := range others {
		_ = res.Body.Close()
	}
	b.Do("wait", "selector", "#state", "text", "live", "timeout", 15000)

	tunnel := newTunnel(t, strings.TrimPrefix(g.AdminURL, "http://"))
	b.Do("open", "url", "http://"+tunnel.Addr().String()+"/upstreams", "clock", true)
	tunnel.stalled.Store(true)
	b.Do("forward", "ms", 31000)
	b.Do("wait", "selector", "#state", "text", "nothing comes")
	tunnel.stalled.Store(false)
	b.Do("forward", "ms", 6000)
	b.Do("wait", "selector", "#state", "text", "live")
}
