package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// Key sets that are no good, over and over: a gate that starts with one says 503,
// one that had a good one goes on with it.
func TestKeySets(t *testing.T) {
	t.Parallel()
	i := servertest.NewIssuer(t)
	good := i.JWKS()
	enc := []byte(strings.ReplaceAll(string(good), `"use":"sig"`, `"use":"enc"`))
	small := `{"keys":[{"kty":"RSA","kid":"k1","e":"AQAB","n":"` + strings.Repeat("3", 170) + `"}]}`
	for name, h := range map[string]http.HandlerFunc{
		"use enc":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(enc) },
		"RSA small":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, small) },
		"over 1 MiB": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(append(good, make([]byte, 1<<20)...)) },
		"redirected": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"gone":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
	} {
		t.Run(name, func(t *testing.T) {
			i.Answer(h)
			g := servertest.Start(t, servertest.Options{Config: func(yaml string) string { return yaml + i.Config() }})
			before := g.By(decisions, "reason")
			res := ask(t, g.Client(g.Cert("acme")), http.MethodGet, g.URL+"/tools", "", jwtOf(i.Token(i.Claims("acme"))))
			wantError(t, res, 503, "unavailable")
			if res.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			wantChange(t, g, decisions, "reason", before, map[string]float64{"jwks_unavailable": 1})
			if g.Metric("sangate_jwks_refreshes_total", "issuer", "test", "result", "error") == 0 {
				t.Error("no failure was counted")
			}
			wantStatus(t, g, "acme", jwtOf(g.Key("acme")), 200) // who has a key does not need the issuer
		})
	}
}

// A file of keys is watched: other keys are in force soon after they are whole,
// and what is no key set leaves those there are.
func TestKeysFromFile(t *testing.T) {
	t.Parallel()
	i := servertest.NewIssuer(t)
	g := servertest.Start(t, servertest.Options{Files: map[string]string{"jwks.json": string(i.JWKS())}, Config: func(yaml string) string {
		return yaml + fmt.Sprintf("issuers: [{name: filed, issuer: %q, audiences: [gate], jwksFile: jwks.json, tenantClaim: tenant}]\n", i.URL)
	}})
	client := g.Client(g.Cert("acme"))
	status := func(kid string) int {
		return ask(t, client, http.MethodGet, g.URL+"/tools", "", jwtOf(i.Sign(claims{"alg": "ES256", "kid": kid}, i.Claims("acme")))).StatusCode
	}
	if got := status("k1"); got != 200 {
		t.Fatalf("at the start: %d", got)
	}
	g.Write("jwks.json", []byte(`{"keys":`))
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_jwks_refreshes_total", "issuer", "filed", "result", "error") > 0 }, 5*time.Second) {
		t.Error("half a file was not noticed")
	}
	if got := status("k1"); got != 200 {
		t.Errorf("with half a file: %d", got)
	}
	i.Roll("k2")
	i.Forget("k1")
	g.Write("jwks.json", i.JWKS())
	if !servertest.WaitFor(func() bool { return status("k2") == 200 }, 5*time.Second) || status("k1") != 401 {
		t.Error("other keys are not in force")
	}
	if n := i.Fetches.Load(); n != 0 {
		t.Errorf("%d fetches beside the file", n)
	}
}

func wantStatus(t *testing.T, g *servertest.Gate, tenant, header string, status int) {
	t.Helper()
	res := ask(t, g.Client(g.Cert(tenant)), http.MethodGet, g.URL+"/tools", "", header)
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != status {
		t.Errorf("%s %s, want %d", res.Status, body, status)
	}
}

// 200 unknown kids cause at most one fetch in five minutes, a rolled key works at
// once, a removed one stops, and without the issuer the last good keys count for
// a day.
func TestKeysRoll(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	g, i := withIssuer(t, now)
	client := g.Client(g.CA.Issue(t, leafUntil(72*time.Hour)))
	claimed := i.Claims("acme").With(claims{"exp": time.Now().Add(72 * time.Hour).Unix()})
	status := func(kid string) int {
		res := ask(t, client, http.MethodGet, g.URL+"/tools", "", jwtOf(i.Sign(claims{"alg": "ES256", "kid": kid}, claimed)))
		return res.StatusCode
	}
	if got := status("k1"); got != 200 || i.Fetches.Load() != 1 {
		t.Fatalf("%d after %d fetches", got, i.Fetches.Load())
	}
	i.Roll("k2")
	if got := status("k2"); got != 200 || i.Fetches.Load() != 2 {
		t.Fatalf("a rolled key: %d after %d fetches", got, i.Fetches.Load())
	}
	for n := range 200 {
		if got := status(fmt.Sprintf("nobody-%d", n)); got != 401 {
			t.Fatalf("an unknown kid: %d", got)
		}
	}
	if n := i.Fetches.Load(); n != 2 {
		t.Errorf("200 unknown kids within five minutes: %d fetches, want those 2", n)
	}
	ahead.Add(int64(5*time.Minute + time.Second))
	i.Forget("k1")
	i.Roll("k3")
	if got := []int{status("k3"), status("k1"), status("k2")}; got[0] != 200 || got[1] != 401 || got[2] != 200 || i.Fetches.Load() != 3 {
		t.Fatalf("k3, and k1 that was removed, and k2: %v after %d fetches", got, i.Fetches.Load())
	}
	i.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	ahead.Add(int64(23 * time.Hour))
	client.CloseIdleConnections() // a connection so old is closed, be it in use
	if got := status("k3"); got != 200 {
		t.Errorf("the issuer gone for 23 h: %d", got)
	}
	ahead.Add(int64(2 * time.Hour))
	client.CloseIdleConnections()
	if got := status("k3"); got != 503 {
		t.Errorf("the issuer gone for 25 h: %d", got)
	}
	i.Answer(nil)
	ahead.Add(int64(6 * time.Minute))
	if got := status("k3"); got != 200 {
		t.Errorf("the issuer back: %d", got)
	}
}

// A token that ends, a key that goes and a mapping that is taken away end the
// calls that run on them.
func TestTokenEndsCalls(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(g *servertest.Gate, i *servertest.Issuer, ahead *atomic.Int64){
		"token_expired": func(_ *servertest.Gate, _ *servertest.Issuer, ahead *atomic.Int64) {
			ahead.Add(int64(time.Hour + 62*time.Second))
		},
		"token_key_unknown": func(g *servertest.Gate, i *servertest.Issuer, _ *atomic.Int64) {
			i.Roll("k2")
			i.Forget("k1")
			g.Server.Reload()
		},
		"token_audience": func(g *servertest.Gate, _ *servertest.Issuer, _ *atomic.Int64) {
			g.Configure(func(yaml string) string { return strings.Replace(yaml, "audiences: [gate]", "audiences: [other]", 1) })
		},
		"tenant_mismatch": func(g *servertest.Gate, _ *servertest.Issuer, _ *atomic.Int64) {
			g.Configure(func(yaml string) string { return strings.Replace(yaml, "tenantClaim: tenant", "tenantClaim: other", 1) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ahead atomic.Int64
			i := servertest.NewIssuer(t)
			wait, began, release := waiting(t)
			defer close(release)
			g := servertest.Start(t, servertest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
				Tools: []*tool.Tool{wait}, Config: func(yaml string) string { return yaml + i.Config() }})
			client := g.Client(g.CA.Issue(t, leafUntil(72*time.Hour)))
			before := g.By(decisions, "reason")
			call := start(t, client, g.URL+"/tool/wait/call", "{}", asJSON, jwtOf(i.Token(i.Claims("acme"))))
			<-began
			end(g, i, &ahead)
			select {
			case got := <-call:
				if got.err != nil || got.res.StatusCode == 200 {
					t.Errorf("the call ended with %v, %v", got.res, got.err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the call goes on")
			}
			wantChange(t, g, decisions, "reason", before, map[string]float64{"ok": 1, name: 1})
		})
	}
}
