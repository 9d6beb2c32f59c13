// Package servertest runs a whole gate on loopback for tests: real listeners,
// real certificates, a state folder of its own. It owns nothing beyond the
// test: [Start] stops the gate when the test ends and fails it where the gate
// ended badly or left goroutines behind.
package servertest

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/tool"
)

// Options of a gate; the zero value is a good one.
type Options struct {
	Config func(yaml string) string // edits the configuration before the start
	Files  map[string]string        // that are in Dir before the start, by name
	Tools  []*tool.Tool             // beside the built-ins

	Resources []*tool.Resource
	Prompts   []*tool.Prompt

	Now func() time.Time // of the gate
	Log io.Writer        // takes the log, as JSON; discarded where nil

	NextRenewal func() time.Time // of the server certificate; nil: nobody has planned one

	Lockout bool // after ten wrong tokens, as by default; else never
}

// A Gate is a running one, with tenants acme and globex, whose certificates
// carry spiffe://example.org/tenant/<tenant>/….
type Gate struct {
	URL, AdminURL string // https://127.0.0.1:…, http://127.0.0.1:…
	Addr          string // of URL
	Dir           string // ca.crt, server.crt, server.key, sangate.yaml, state
	CA            *pkitest.CA
	Server        *server.Server

	t    testing.TB
	keys map[string]string
	stop context.CancelFunc
	done chan struct{} // closed when Run has returned
}

// Start runs a gate until the test ends.
func Start(t testing.TB, opts Options) *Gate {
	t.Helper()
	left, began := watch()
	defer began() // the test's own clients are not the gate's
	g := &Gate{t: t, Dir: t.TempDir(), CA: pkitest.NewCA(t, "Test CA"), keys: make(map[string]string)}
	g.Write("ca.crt", g.CA.PEM())
	g.CA.Issue(t, pkitest.Leaf{DNS: []string{"localhost", "gate.example.org"}, IPs: []string{"127.0.0.1"}}).Write(t, g.Dir, "server")
	for name, text := range opts.Files {
		g.Write(name, []byte(text))
	}
	config := g.config()
	if opts.Config != nil {
		config = opts.Config(config)
	}
	g.Write("sangate.yaml", []byte(config))
	g.run(opts, left)
	return g
}

// At is a gate that was started by other means, for its metrics: nothing but
// Metric, By and Series may be called.
func At(t testing.TB, url, adminURL string) *Gate { return &Gate{URL: url, AdminURL: adminURL, t: t} }

func (g *Gate) config() string {
	var b strings.Builder
	b.WriteString("state: state\ntls: {cert: server.crt, key: server.key, clientCA: [ca.crt]}\ntenants:\n")
	for _, tenant := range []string{"acme", "globex"} {
		key, id, err := apikey.Mint()
		if err != nil {
			g.t.Fatal(err)
		}
		digest := apikey.Digest(key)
		g.keys[tenant] = key
		fmt.Fprintf(&b, "  - id: %s\n    sans: [\"uri:spiffe://example.org/tenant/%[1]s/*\"]\n    keys: [{id: %s, sha256: %s}]\n",
			tenant, id, hex.EncodeToString(digest[:]))
	}
	return b.String()
}

func (g *Gate) run(opts Options, left func(time.Duration) string) {
	t := g.t
	t.Helper()
	main, admin := listen(t), listen(t)
	logger := slog.New(slog.DiscardHandler)
	if opts.Log != nil {
		logger = slog.New(slog.NewJSONHandler(opts.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var overrides []string
	if !opts.Lockout {
		overrides = []string{"limits.failureBurst=1000000"}
	}
	s, err := server.New(t.Context(), server.Options{ConfigFile: filepath.Join(g.Dir, "sangate.yaml"), Overrides: overrides, Tools: opts.Tools, Resources: opts.Resources, Prompts: opts.Prompts,
		Now: opts.Now, NextRenewal: opts.NextRenewal, Logger: logger, Listener: main, AdminListener: admin, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	g.Server, g.Addr = s, main.Addr().String()
	g.URL, g.AdminURL = "https://"+g.Addr, "http://"+admin.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	g.stop, g.done = cancel, make(chan struct{})
	go func() {
		defer close(g.done)
		err = s.Run(ctx)
	}()
	t.Cleanup(func() {
		if <-g.Stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
		if stacks := left(5 * time.Second); stacks != "" {
			t.Errorf("goroutines left behind:\n%s", stacks)
		}
	})
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Stop tells the gate to drain and end. The channel is closed when Run has
// returned; the end of the test waits for that in any case.
func (g *Gate) Stop() <-chan struct{} {
	g.stop()
	return g.done
}

// Write puts a file into Dir, at once where it is there already.
func (g *Gate) Write(name string, data []byte) {
	g.t.Helper()
	file := filepath.Join(g.Dir, name)
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		g.t.Fatal(err)
	}
}

// Configure edits the configuration and waits until it is in force.
func (g *Gate) Configure(edit func(yaml string) string) {
	g.t.Helper()
	old, err := os.ReadFile(filepath.Join(g.Dir, "sangate.yaml"))
	if err != nil {
		g.t.Fatal(err)
	}
	g.Change("config", func() { g.Write("sangate.yaml", []byte(edit(string(old)))) })
}

// Change runs an edit of files and waits until a reload of that kind, config or
// certificate, has put them in force.
func (g *Gate) Change(kind string, edit func()) {
	g.t.Helper()
	done := func() float64 { return g.Metric("sangate_"+kind+"_reloads_total", "result", "ok") }
	before := done()
	edit()
	g.Server.Reload()
	if !WaitFor(func() bool { return done() > before }, 10*time.Second) {
		g.t.Fatalf("no %s reload came to a good end", kind)
	}
}

// Key returns the API key of tenant acme or globex.
func (g *Gate) Key(tenant string) string { return g.keys[tenant] }

// Cert issues a good client certificate of a tenant.
func (g *Gate) Cert(tenant string) *pkitest.Cert {
	g.t.Helper()
	return g.CA.Issue(g.t, pkitest.Leaf{URIs: []string{"spiffe://example.org/tenant/" + tenant + "/agent"}})
}

// TLS is the client's side of a handshake with cert, which may be nil.
func (g *Gate) TLS(cert *pkitest.Cert) *tls.Config {
	c := &tls.Config{RootCAs: g.CA.Pool(), ServerName: "localhost"}
	if cert != nil {
		// Sent whatever CAs the server asks for: bad ones are to be seen by it.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert.TLS, nil }
	}
	return c
}

// A ClientOption changes the transport of a client.
type ClientOption func(*http.Transport)

// HTTP1 keeps the client from HTTP/2.
func HTTP1(tr *http.Transport) {
	tr.ForceAttemptHTTP2 = false
	tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
}

// Client returns a client with cert, which may be nil; over HTTP/2 unless told
// otherwise. Its connections are closed when the test ends.
func (g *Gate) Client(cert *pkitest.Cert, opts ...ClientOption) *http.Client {
	tr := &http.Transport{TLSClientConfig: g.TLS(cert), ForceAttemptHTTP2: true}
	for _, opt := range opts {
		opt(tr)
	}
	g.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// WaitFor polls cond until it holds or the time is up.
func WaitFor(cond func() bool, limit time.Duration) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return true
		}
	}
	return cond()
}
