package keyset_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/keyset"
)

// A provider serves a discovery document and a key set, and counts.
type provider struct {
	*httptest.Server
	keys, discoveries atomic.Int32

	mu       sync.Mutex
	document func(issuer string) string
	set      http.HandlerFunc
}

func newProvider(t *testing.T, keys ...string) *provider {
	p := &provider{document: func(issuer string) string {
		return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"scopes_supported":["openid"]}`, issuer, issuer+"/keys")
	}}
	p.publish(keys...)
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		document, set := p.document, p.set
		p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			p.discoveries.Add(1)
			fmt.Fprint(w, document(p.URL))
		default:
			p.keys.Add(1)
			set(w, r)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) answer(h http.HandlerFunc) {
	p.mu.Lock()
	p.set = h
	p.mu.Unlock()
}

func (p *provider) publish(keys ...string) {
	p.answer(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, setOf(keys...)) })
}

func setOf(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// ec is a JWK with the key of RFC 7517, appendix A.1.
func ec(kid string, more ...string) string {
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":%q%s}`,
		kid, strings.Join(append([]string{""}, more...), ","))
}

// clock can be set on.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }
func (p *provider) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Certificate())
	return pool
}
func contains(s *keyset.Set, k string) bool { return s.Keys().Lookup(k) != nil }

func start(t *testing.T, p *provider, opts keyset.Options) (*keyset.Set, *clock) {
	t.Helper()
	c := &clock{}
	opts.Issuer, opts.Now = p.URL, c.now
	opts.Client = egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}).Client(egress.Target{Roots: p.roots(), Timeout: 5 * time.Second})
	s, err := keyset.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return s, c
}

func await(t *testing.T, s *keyset.Set, have *keyset.Keys) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if s.Await(ctx, have); ctx.Err() != nil {
		t.Fatal("waited in vain")
	}
}

// A rolled key works at once, one that was taken away stops with the next fetch,
// and whatever is asked for causes one fetch in five minutes.
func TestRoll(t *testing.T) {
	p := newProvider(t, ec("one"))
	var changes atomic.Int32
	s, c := start(t, p, keyset.Options{OnChange: func() { changes.Add(1) }})
	await(t, s, nil)
	if !contains(s, "one") || p.keys.Load() != 1 || p.discoveries.Load() != 1 {
		t.Fatalf("at the start %d fetches, %q", p.keys.Load(), s.Keys().IDs())
	}
	p.publish(ec("one"), ec("two"))
	before := s.Keys()
	var waiting sync.WaitGroup
	for range 200 {
		waiting.Go(func() { await(t, s, before) })
	}
	waiting.Wait()
	if !contains(s, "two") || p.keys.Load() != 2 || changes.Load() != 2 {
		t.Fatalf("after 200 that asked: %d fetches, %d changes, %q", p.keys.Load(), changes.Load(), s.Keys().IDs())
	}
	p.publish(ec("three"))
	for range 200 {
		await(t, s, s.Keys())
	}
	c.advance(4*time.Minute + 50*time.Second)
	await(t, s, s.Keys())
	if p.keys.Load() != 2 {
		t.Fatalf("%d fetches within five minutes", p.keys.Load())
	}
	c.advance(11 * time.Second)
	await(t, s, s.Keys())
	if !contains(s, "three") || contains(s, "one") || p.keys.Load() != 3 {
		t.Errorf("five minutes later: %d fetches, %q", p.keys.Load(), s.Keys().IDs())
	}
	same := s.Keys()
	c.advance(6 * time.Minute)
	await(t, s, same)
	if p.keys.Load() != 4 || s.Keys() != same || changes.Load() != 3 {
		t.Errorf("the same keys are others: %d fetches, %d changes", p.keys.Load(), changes.Load())
	}
}

// The last good keys count for a day after they were seen.
func TestGone(t *testing.T) {
	p := newProvider(t, ec("one"))
	var failed atomic.Int32
	s, c := start(t, p, keyset.Options{OnRefresh: func(err error) {
		if err != nil {
			failed.Add(1)
		}
	}})
	if s.Fresh(c.now()) {
		t.Error("fresh before the first fetch")
	}
	await(t, s, nil)
	hostile := map[string]http.HandlerFunc{
		"an error":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"no JSON":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "keys") },
		"a name twice": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[`+ec("x")+`],"keys":[`+ec("y")+`]}`)
		},
		"no keys":       func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) },
		"only unusable": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, setOf(ec("x", `"use":"enc"`))) },
		"a megabyte": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[`+ec("x")+`],"pad":"`+strings.Repeat("x", 1<<20)+`"}`)
		},
		"HTML": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, setOf(ec("x")))
		},
	}
	good := s.Keys()
	seen := s.Seen()
	for name, h := range hostile {
		before := failed.Load()
		p.answer(h)
		c.advance(5 * time.Minute)
		await(t, s, good)
		if s.Keys() != good || failed.Load() != before+1 || !s.Seen().Equal(seen) {
			t.Errorf("%s: %d failures, keys %q", name, failed.Load()-before, s.Keys().IDs())
		}
	}
	c.advance(seen.Add(24*time.Hour - time.Second).Sub(c.now()))
	if !s.Fresh(c.now()) {
		t.Error("not fresh within a day")
	}
	c.advance(3 * time.Second)
	if s.Fresh(c.now()) {
		t.Error("fresh after a day")
	}
	p.publish(ec("one"))
	await(t, s, good)
	if !s.Fresh(c.now()) || s.Keys() != good {
		t.Error("not fresh when it is back")
	}
}

// A set that never came is tried again by itself.
func TestComesLate(t *testing.T) {
	p := newProvider(t)
	p.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	s, _ := start(t, p, keyset.Options{})
	await(t, s, nil)
	if s.Keys() != nil || s.Keys().Lookup("one") != nil {
		t.Fatal("keys out of nowhere")
	}
	await(t, s, nil) // does not hang, and does not ask
	p.publish(ec("one"))
	for end := time.Now().Add(10 * time.Second); s.Keys() == nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	if !contains(s, "one") {
		t.Error("not tried again")
	}
}

func TestDiscovery(t *testing.T) {
	for name, tt := range map[string]struct{ document, want string }{
		"another issuer":   {`{"issuer":"https://evil.example","jwks_uri":"%s/keys"}`, "another issuer"},
		"a slash more":     {`{"issuer":"%s/","jwks_uri":"%[1]s/keys"}`, "another issuer"},
		"issuer twice":     {`{"issuer":"%s","issuer":"%[1]s","jwks_uri":"%[1]s/keys"}`, "duplicate"},
		"keys in clear":    {`{"issuer":"%s","jwks_uri":"http://keys.example/"}`, "write https"},
		"keys in a file":   {`{"issuer":"%s","jwks_uri":"file:///etc/passwd"}`, "no URL"},
		"keys at metadata": {`{"issuer":"%s","jwks_uri":"https://169.254.169.254/"}`, "egress.allow"},
		"no keys":          {`{"issuer":"%s"}`, "no URL"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t, ec("one"))
			p.document = func(issuer string) string {
				return strings.ReplaceAll(strings.ReplaceAll(tt.document, "%[1]s", issuer), "%s", issuer)
			}
			got := make(chan error, 1)
			s, _ := start(t, p, keyset.Options{OnRefresh: func(err error) {
				select {
				case got <- err:
				default:
				}
			}})
			if err := <-got; err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want one with %q", err, tt.want)
			}
			if s.Keys() != nil || p.keys.Load() != 0 {
				t.Errorf("%d fetches of keys", p.keys.Load())
			}
		})
	}
}

func TestFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jwks.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := keyset.New(keyset.Options{Issuer: "https://issuer.example", File: file})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil {
		t.Error("a file that is not there was read")
	}
	write(setOf(ec("one")))
	if err := s.Reload(); err != nil || !contains(s, "one") {
		t.Fatal(err)
	}
	write(`{"keys":`)
	if err := s.Reload(); err == nil || !contains(s, "one") || !strings.Contains(err.Error(), file) {
		t.Errorf("half a file: %v", err)
	}
	await(t, s, s.Keys()) // nobody to wait for
	if !s.Fresh(time.Now().Add(1000 * time.Hour)) {
		t.Error("a file went stale")
	}
	s.Run(t.Context()) // nothing to do
	keys := s.Keys()
	if n := testing.AllocsPerRun(100, func() { _ = keys.Lookup("one"); _ = keys.Lookup("two") }); n != 0 {
		t.Errorf("a look-up allocates %v times", n)
	}
}
