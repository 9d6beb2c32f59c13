package server_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// limited is a gate whose tenant acme has limits.
func limited(t *testing.T, limits string, opts servertest.Options) *servertest.Gate {
	t.Helper()
	opts.Config = func(yaml string) string {
		return strings.Replace(yaml, "  - id: acme\n", "  - id: acme\n    limits: "+limits+"\n", 1)
	}
	return servertest.Start(t, opts)
}

// tooMany checks a 429 and returns when to try again.
func tooMany(t *testing.T, res *http.Response) time.Duration {
	t.Helper()
	wantError(t, res, 429, "rate_limited")
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
	}
	return time.Duration(seconds) * time.Second
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	frozen := time.Now()
	g := limited(t, "{requestsPerSecond: 0.5, burst: 4, perIdentity: {requestsPerSecond: 0.5, burst: 3}}",
		servertest.Options{Now: func() time.Time { return frozen.Add(time.Duration(ahead.Load())) }})
	one := g.Client(g.Cert("acme"))
	two := g.Client(g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/other"}}))
	globex := g.Client(g.Cert("globex"))
	tools := func(c *http.Client, tenant string) *http.Response {
		return ask(t, c, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key(tenant))
	}
	before := g.By(decisions, "reason")
	for n := range 3 {
		if res := tools(one, "acme"); res.StatusCode != 200 {
			t.Fatalf("request %d: %s", n, res.Status)
		}
	}
	if wait := tooMany(t, tools(one, "acme")); wait != 2*time.Second {
		t.Errorf("wait %s, want 2s", wait)
	}
	if res := tools(two, "acme"); res.StatusCode != 200 {
		t.Errorf("another identity: %s", res.Status)
	}
	tooMany(t, tools(two, "acme")) // the tenant's four are gone
	if res := tools(globex, "globex"); res.StatusCode != 200 {
		t.Errorf("another tenant: %s", res.Status)
	}
	wantChange(t, g, decisions, "reason", before, map[string]float64{"ok": 5, "rate_limited": 2})
	ahead.Add(int64(2 * time.Second))
	if res := tools(two, "acme"); res.StatusCode != 200 {
		t.Errorf("after the wait: %s", res.Status)
	}
	// Limits are taken while running.
	g.Configure(func(yaml string) string { return strings.Replace(yaml, "requestsPerSecond: 0.5, burst: 4, ", "", 1) })
	if res := tools(two, "acme"); res.StatusCode != 200 {
		t.Errorf("with the tenant's limit gone: %s", res.Status)
	}
}

func TestConcurrencyLimit(t *testing.T) {
	t.Parallel()
	wait, began, release := waiting(t)
	g := limited(t, "{concurrent: 2}", servertest.Options{Tools: []*tool.Tool{wait}})
	client, token := g.Client(g.Cert("acme")), "Authorization: Bearer "+g.Key("acme")
	var running []<-chan outcome
	for range 2 {
		running = append(running, start(t, client, g.URL+"/tool/wait/call", "{}", asJSON, token))
		<-began
	}
	tooMany(t, ask(t, client, http.MethodGet, g.URL+"/tools", "", token))
	g.Configure(func(yaml string) string { return yaml + "log: {level: debug}\n" }) // what runs stays counted
	tooMany(t, ask(t, client, http.MethodGet, g.URL+"/tools", "", token))
	close(release)
	for _, call := range running {
		if got := <-call; got.err != nil || got.res.StatusCode != 200 {
			t.Errorf("%v, %v", got.res, got.err)
		}
	}
	if res := ask(t, client, http.MethodGet, g.URL+"/tools", "", token); res.StatusCode != 200 {
		t.Errorf("after they ended: %s", res.Status)
	}
}

// 100 bad keys a second from one identity are throttled, others unaffected: of
// the same tenant, and the calls that the identity runs.
func TestLockout(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	frozen := time.Now()
	wait, began, release := waiting(t)
	g := servertest.Start(t, servertest.Options{Lockout: true, Tools: []*tool.Tool{wait},
		Now: func() time.Time { return frozen.Add(time.Duration(ahead.Load())) }})
	cert := g.Cert("acme")
	one := g.Client(cert)
	two := g.Client(g.CA.Issue(t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/acme/other"}}))
	good := "Authorization: Bearer " + g.Key("acme")
	call := start(t, one, g.URL+"/tool/wait/call", "{}", asJSON, good)
	<-began
	tools := func(c *http.Client, headers ...string) *http.Response {
		return ask(t, c, http.MethodGet, g.URL+"/tools", "", headers...)
	}
	before := g.By(decisions, "reason")
	for n := range 100 {
		switch res := tools(one, "Authorization: Bearer wrong"); {
		case n < 10 && res.StatusCode != 401:
			t.Fatalf("attempt %d: %s", n, res.Status)
		case n >= 10:
			if wait := tooMany(t, res); wait > 6*time.Second {
				t.Fatalf("attempt %d: wait %s", n, wait)
			}
		}
	}
	wantChange(t, g, decisions, "reason", before, map[string]float64{"token_unknown": 10, "locked_out": 90})
	tooMany(t, tools(one, good)) // nobody can tell a right guess from a wrong one
	tooMany(t, tools(g.Client(g.Cert("acme")), good))
	for range 20 {
		if res := tools(two, good); res.StatusCode != 200 {
			t.Fatalf("another identity: %s", res.Status)
		}
		tools(two) // none at all is no attempt
	}
	if res := ask(t, one, http.MethodGet, g.URL+"/health", ""); res.StatusCode != 200 {
		t.Errorf("/health: %s", res.Status)
	}
	time.Sleep(2 * 250 * time.Millisecond) // two sweeps
	close(release)
	if got := <-call; got.err != nil || got.res.StatusCode != 200 {
		t.Errorf("the call it ran: %v, %v", got.res, got.err)
	}
	ahead.Add(int64(6 * time.Second))
	if res := tools(one, good); res.StatusCode != 200 {
		t.Errorf("after the wait: %s", res.Status)
	}
	if res := tools(one, "Authorization: Bearer wrong"); res.StatusCode != 401 {
		t.Errorf("one more attempt: %s", res.Status)
	}
	tooMany(t, tools(one, good))
}
