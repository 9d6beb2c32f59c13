package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca/steptest"
	"github.com/sangate/sangate/server"
	"github.com/sangate/sangate/server/servertest"
)

// An enrolledGate gets its certificate from a real step-ca, which a test then
// troubles. It can be started again on what it has stored.
type enrolledGate struct {
	*servertest.Gate // of the last start: metrics alone
	t                *testing.T
	ca               *steptest.CA
	file, key        string // configuration, acme's API key
	agent            *http.Client
	waiting, failing *lookout
	otherKey         *lookout
	started          chan struct{} // closed once it serves
	stop             func()
	broken           atomic.Bool // it ended by itself
}

// newEnrolledGate lays out a gate that asks for certificates at url and renews
// them at three tenths of their lifetime. It does not start it.
func newEnrolledGate(t *testing.T, ca *steptest.CA, url string) *enrolledGate {
	t.Helper()
	dir := t.TempDir()
	g := &enrolledGate{t: t, ca: ca}
	g.file, g.key = enrolledConfig(t, ca, dir, url)
	g.edit("provisioner:", "renewAt: 0.3, provisioner:")
	g.agent = g.client("agent")
	return g
}

// issue has the CA issue a certificate, to files that are named after it.
func (g *enrolledGate) issue(name, lifetime string, sans ...string) tls.Certificate {
	g.t.Helper()
	crt, key := g.pair(name)
	g.ca.Step("ca", "certificate", name, crt, key, "--ca-url", g.ca.URL, "--root", g.ca.RootFile, "--not-after", lifetime,
		"--token", g.ca.Token(name, sans...))
	cert, err := tls.LoadX509KeyPair(crt, key)
	if err != nil {
		g.t.Fatal(err)
	}
	return cert
}

func (g *enrolledGate) pair(name string) (crt, key string) {
	dir := filepath.Dir(g.file)
	return filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
}

// client makes a client of acme's, with a certificate of its own.
func (g *enrolledGate) client(name string) *http.Client {
	g.t.Helper()
	g.issue(name, "1h", "spiffe://example.org/tenant/acme/"+name)
	crt, key := g.pair(name)
	return stepClient(g.t, g.ca, crt, key)
}

func (g *enrolledGate) edit(old, new string) {
	g.t.Helper()
	text, err := os.ReadFile(g.file)
	if err == nil {
		err = os.WriteFile(g.file, []byte(replaceOnce(g.t, string(text), old, new)), 0o600)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// boot starts it and does not wait until it serves.
func (g *enrolledGate) boot() {
	g.t.Helper()
	var at []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			g.t.Fatal(err)
		}
		g.t.Cleanup(func() { _ = l.Close() }) // it is closed, save where nothing was served
		at = append(at, l)
	}
	g.Gate = servertest.At(g.t, "https://"+at[0].Addr().String(), "http://"+at[1].Addr().String())
	g.waiting = &lookout{phrase: "waiting for the first certificate"}
	g.failing = &lookout{phrase: "certificate not renewed, will try again"}
	g.otherKey = &lookout{phrase: "another key"}
	log := slog.New(slog.NewJSONHandler(io.MultiWriter(g.waiting, g.failing, g.otherKey), nil))
	started := make(chan struct{})
	g.started = started
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s, err := server.New(ctx, server.Options{ConfigFile: g.file, Logger: log, Listener: at[0], AdminListener: at[1]})
		if err == nil {
			g.Server = s
			close(started)
			err = s.Run(ctx)
		}
		if err != nil && ctx.Err() == nil {
			g.t.Errorf("the gate ended: %v", err)
			g.broken.Store(true)
		}
	}()
	g.stop = sync.OnceFunc(func() { cancel(); <-done })
	g.t.Cleanup(g.stop)
}

// serves waits until the gate does.
func (g *enrolledGate) serves() {
	g.t.Helper()
	g.until("it serves", func() bool {
		select {
		case <-g.started:
			return true
		default:
			return false
		}
	})
}

func (g *enrolledGate) until(what string, is func() bool) {
	g.t.Helper()
	if !servertest.WaitFor(func() bool { return is() || g.broken.Load() }, 90*time.Second) || g.broken.Load() {
		g.t.Fatalf("waited too long, or in vain: %s", what)
	}
}

// good calls over a new connection and fails the test where that does not work.
func (g *enrolledGate) good() {
	g.t.Helper()
	g.agent.CloseIdleConnections()
	if status, body := get(g.t, g.agent, g.URL+"/tools", g.key); status != http.StatusOK {
		g.t.Fatalf("a call: %d %s", status, body)
	}
}

// reading is what Prometheus would have of the gate at one scrape.
type reading struct {
	time                      float64
	ok, errors                float64 // renewals
	notBefore, notAfter, next float64
	refused, clientRoots      float64 // handshakes, and whom they must be anchored in
}

func (g *enrolledGate) read() reading {
	g.t.Helper()
	certificate := func(which string) float64 {
		return g.Metric("sangate_certificate_"+which+"_timestamp_seconds", "role", "server")
	}
	r := g.By("sangate_certificate_renewals_total", "result")
	shaken := g.By(handshakes, "result")
	return reading{time: float64(time.Now().UnixMilli()) / 1000, ok: r["ok"], errors: r["error"],
		notBefore: certificate("not_before"), notAfter: certificate("not_after"),
		next: g.By("sangate_certificate_next_renewal_timestamp_seconds", "name")["server"],
		// Clients that look at which CAs are asked for send nothing rather than a
		// certificate under another.
		refused:     shaken["untrusted"] + shaken["no_certificate"],
		clientRoots: float64(len(g.By("sangate_certificate_not_after_timestamp_seconds", "name")) - 1)}
}

// firing names the alerts of the table above [TestCADownPastRenewals] that fire
// at r, where was is the reading from before the trouble.
func (r reading) firing(was reading) string {
	var names []string
	for _, alert := range []struct {
		name string
		on   bool
	}{
		{"RenewalFails", r.errors > was.errors},
		{"RenewalOverdue", r.next != 0 && r.time-r.next > 10},
		{"CertificateEnding", r.notAfter-r.time < (r.notAfter-r.notBefore)/4},
		{"CertificateEnded", r.notAfter < r.time},
		{"ClientsRefused", r.refused > was.refused},
	} {
		if alert.on {
			names = append(names, alert.name)
		}
	}
	return strings.Join(names, " ")
}

func (r reading) String() string {
	return fmt.Sprintf("renewals ok %v, error %v; ends in %.1f s, next attempt in %.1f s", r.ok, r.errors, r.notAfter-r.time, r.next-r.time)
}

// A lookout is a log that waits for a phrase.
type lookout struct {
	phrase string
	seen   atomic.Int64
}

func (l *lookout) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(l.phrase)) {
		l.seen.Add(1)
	}
	return len(p), nil
}
