package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// withProvider is a gate that takes the tokens of a real OpenID Provider. Its
// clock can be set ahead.
func withProvider(t *testing.T) (p *provider, g *servertest.Gate, acme, globex oidcClient, ahead *atomic.Int64) {
	t.Helper()
	agent := func(tenant string) oidcClient {
		return oidcClient{ID: "agent-of-" + tenant, Secret: "for " + tenant, Audience: []string{"gate"}, Claims: map[string]any{"tenant": tenant}}
	}
	acme, globex = agent("acme"), agent("globex")
	p = startProvider(t, 30*time.Hour, acme, globex)
	ahead = new(atomic.Int64)
	g = servertest.Start(t, servertest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		Config: func(yaml string) string { return yaml + p.config() }})
	return p, g, acme, globex, ahead
}

func mustToken(t *testing.T, p *provider, c oidcClient, cert *pkitest.Cert) string {
	t.Helper()
	token, err := p.token(c, cert)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A real provider's client-credentials tokens get in, each for its tenant, and a
// bound one with its certificate only.
func TestRealProvider(t *testing.T) {
	t.Parallel()
	p, g, acme, globex, _ := withProvider(t)
	cert := g.Cert("acme")
	client := g.Client(cert)
	for _, res := range everywhere(t, g, client, jwtOf(mustToken(t, p, acme, nil)), "X-Octopus-Tenant-Id: acme") {
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 || res.Request.URL.Path != "/tools" && !strings.Contains(string(body), `"factors":["certificate","jwt"]`) {
			t.Errorf("%s %s: %s", res.Request.URL.Path, res.Status, body)
		}
	}
	for _, res := range everywhere(t, g, client, jwtOf(mustToken(t, p, globex, nil))) {
		wantError(t, res, 403, "forbidden")
	}
	bound := jwtOf(mustToken(t, p, acme, cert))
	for _, res := range everywhere(t, g, client, bound) {
		if res.StatusCode != 200 {
			t.Errorf("bound to this certificate: %s", res.Status)
		}
	}
	before := g.By(decisions, "reason")
	for _, res := range everywhere(t, g, g.Client(g.Cert("acme")), bound) {
		wantError(t, res, 401, "unauthorized")
	}
	wantChange(t, g, decisions, "reason", before, map[string]float64{"binding_mismatch": 3})
	if n := p.fetches(); n != 1 {
		t.Errorf("%d fetches of the keys, want 1", n)
	}
	meta := ask(t, client, http.MethodGet, g.URL+"/.well-known/oauth-protected-resource", "")
	if body, _ := io.ReadAll(meta.Body); !strings.Contains(string(body), fmt.Sprintf(`"authorization_servers":[%q]`, p.issuer)) {
		t.Errorf("metadata %s", body)
	}
}

// The provider rolls its keys under load: tokens of the new key get in at once,
// those of the keys before as long as they are published, and not one is refused.
// Then it forgets them, fails, and ends, and not one token gets in that should
// not.
func TestProviderRollsUnderLoad(t *testing.T) {
	p, g, acme, _, ahead := withProvider(t)
	cert := g.CA.Issue(t, leafUntil(34*time.Hour))
	first := mustToken(t, p, acme, nil)
	const rolls, workers = 5, 4
	var rolled, calls atomic.Int64
	var load sync.WaitGroup
	stop := make(chan struct{})
	for range workers {
		client := g.Client(cert)
		load.Go(func() {
			tokens := []string{first}
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if n%5 == 0 { // a fresh one, by whatever key signs now
					token, err := p.token(acme, nil)
					if err != nil {
						t.Errorf("no token: %v", err)
						return
					}
					tokens = append(tokens, token)
				}
				token := tokens[len(tokens)-1-n%min(len(tokens), 20)]
				res, err := try(t, client, http.MethodPost, g.URL+"/tool/whoami/call", "{}", asJSON, jwtOf(token))
				if err != nil || res.StatusCode != 200 {
					t.Errorf("call %d after %d rolls: %v, %v", n, rolled.Load(), res, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for range rolls {
		seen := calls.Load()
		servertest.WaitFor(func() bool { return calls.Load() > seen+200 || t.Failed() }, 30*time.Second)
		ahead.Add(int64(5*time.Minute + time.Second)) // else the gate would not ask again
		p.order("roll")
		rolled.Add(1)
	}
	seen := calls.Load()
	servertest.WaitFor(func() bool { return calls.Load() > seen+200 || t.Failed() }, 30*time.Second)
	close(stop)
	load.Wait()
	if n := p.fetches(); n != rolls+1 {
		t.Errorf("%d fetches for %d rolls, want one each and one at the start", n, rolls)
	}
	t.Logf("%d calls, %d rolls", calls.Load(), rolls)

	client := g.Client(cert)
	status := func(token string) int {
		return ask(t, client, http.MethodGet, g.URL+"/tools", "", jwtOf(token)).StatusCode
	}
	last := mustToken(t, p, acme, nil)
	p.order("forget")
	ahead.Add(int64(6 * time.Minute))
	p.order("roll")
	if newest := mustToken(t, p, acme, nil); status(newest) != 200 || status(last) != 200 {
		t.Error("a good token was refused")
	}
	if got := status(first); got != 401 {
		t.Errorf("a token of a key that was forgotten: %d", got)
	}
	p.order("break")
	p.order("roll")
	unknown := mustToken(t, p, acme, nil)
	ahead.Add(int64(6 * time.Minute))
	if status(unknown) != 401 || status(last) != 200 {
		t.Error("while the keys cannot be fetched: a token of an unknown key got in, or one of a known key did not")
	}
	p.stop()
	for range 100 {
		if status(unknown) != 401 || status(first) != 401 || status(last+"x") != 401 || status(last) != 200 {
			t.Fatal("the provider has ended: a wrong acceptance or refusal")
		}
	}
	ahead.Add(int64(24 * time.Hour))
	if status(last) != 503 || status(first) != 503 || status(unknown) != 503 {
		t.Error("a day later tokens are still taken, or not refused for the keys")
	}
}
