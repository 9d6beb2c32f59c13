package dev_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/server/dev"
)

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// Certificates of seconds are renewed, again and again, while calls go on, and
// no call notices.
func TestRenewalUnderCalls(t *testing.T) {
	g := start(t, dev.Options{Dir: t.TempDir(), Lifetime: 15 * time.Second})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	servers, clients := map[string]bool{}, map[string]map[string]bool{}
	for _, tenant := range dev.Tenants {
		clients[tenant] = map[string]bool{}
		c, token := client(t, g.Dir, tenant), read(t, g.Dir, "clients", tenant+".token")
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				status, body, err := g.try(c, token, "/tool/whoami/call", `{}`)
				var who struct{ Serial string }
				if err == nil {
					err = json.Unmarshal([]byte(body), &who)
				}
				if err != nil || status != http.StatusOK {
					t.Errorf("%s: %d %s %v", tenant, status, body, err)
					return
				}
				mu.Lock()
				clients[tenant][who.Serial] = true
				mu.Unlock()
			}
		})
	}
	await(t, "three certificates of each", func() bool {
		next, serial := g.nextRenewal(t)
		mu.Lock()
		defer mu.Unlock()
		servers[serial] = true
		if left := time.Until(next); !next.IsZero() && left > 15*time.Second {
			t.Fatalf("the next renewal is in %v, after the end", left)
		}
		return t.Failed() || len(servers) > 2 && len(clients["acme"]) > 2 && len(clients["globex"]) > 2
	})
	close(stop)
	wg.Wait()
	if next, _ := g.nextRenewal(t); next.IsZero() {
		t.Error("gate_certificates does not tell the next renewal")
	}
}

// nextRenewal asks the tool for that of the server certificate, and returns it
// with the end of the certificate, which tells one from the next.
func (g *gate) nextRenewal(t *testing.T) (next time.Time, which string) {
	t.Helper()
	status, body := g.ask(t, "acme", "acme", "/tool/gate_certificates/call", `{}`)
	var answer struct {
		Certificates []struct {
			Role        string
			Names       []string
			NotAfter    time.Time
			NextRenewal time.Time
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); status != http.StatusOK || err != nil {
		t.Fatalf("gate_certificates: %d %s %v", status, body, err)
	}
	for _, c := range answer.Certificates {
		if c.Role == "server" {
			return c.NextRenewal, c.NotAfter.String()
		}
		if !c.NextRenewal.IsZero() {
			t.Errorf("%s is said to be renewed", c.Role)
		}
	}
	t.Fatalf("no server certificate in %s", body)
	return next, ""
}

// A CA that moved to another port issues, and renews what the old one issued.
func TestMovedCA(t *testing.T) {
	dir := t.TempDir()
	first := once(t, dev.Options{Dir: dir, Lifetime: 30 * time.Second})
	held, err := net.Listen("tcp", strings.TrimPrefix(first.CAURL, "https://")) // so that it has to move
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	before := map[string]string{}
	names := []string{"server", "clients/acme", "clients/globex"}
	for _, name := range names {
		before[name] = leaf(t, dir, name).SerialNumber.String()
	}
	g := start(t, dev.Options{Dir: dir, Lifetime: 30 * time.Second})
	if g.CAURL == first.CAURL || g.Fingerprint != first.Fingerprint {
		t.Errorf("CA %s %s, before %s %s", g.CAURL, g.Fingerprint, first.CAURL, first.Fingerprint)
	}
	for _, name := range names {
		await(t, "a new certificate of "+name, func() bool { return leaf(t, dir, name).SerialNumber.String() != before[name] })
	}
	g.works(t)
}

func TestUsedPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	used, dir := ln.Addr().String(), t.TempDir()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wanted := free.Addr().String()
	free.Close()
	for flag, opts := range map[string]dev.Options{
		"--listen": {Listen: used, Admin: "127.0.0.1:0", CA: "127.0.0.1:0"},
		"--admin":  {Listen: wanted, Admin: used, CA: "127.0.0.1:0"},
		"--ca":     {Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", CA: used},
	} {
		t.Run(flag, func(t *testing.T) {
			opts.Dir, opts.Ready = dir, func(dev.Gate) { t.Error("ready") }
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := dev.Run(ctx, opts)
			if err == nil || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), used) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want one line that names %s and %s", err, flag, used)
			}
		})
	}
	start(t, dev.Options{Dir: dir, Listen: wanted}).works(t) // all of it was given up
}

func TestSecondGateInOneFolder(t *testing.T) {
	g := start(t, dev.Options{Dir: t.TempDir()})
	err := dev.Run(t.Context(), dev.Options{Dir: g.Dir, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", CA: "127.0.0.1:0",
		Ready: func(dev.Gate) { t.Error("ready") }})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v, want that the folder is in use", err)
	}
	g.works(t)
}

func TestNothingIsLeft(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	opts := dev.Options{Dir: dir, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", CA: "127.0.0.1:0"}
	for name, run := range map[string]func(t *testing.T){
		"served":             func(t *testing.T) { g := start(t, dev.Options{Dir: dir}); g.works(t); _ = g.stop() },
		"stopped when ready": func(t *testing.T) { _ = start(t, dev.Options{Dir: dir}).stop() },
		"once":               func(t *testing.T) { once(t, dev.Options{Dir: dir}) },
		"stopped before": func(t *testing.T) {
			if err := dev.Run(canceled, opts); err != nil && !strings.Contains(err.Error(), context.Canceled.Error()) {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			run(t)
			buf := make([]byte, 1<<20)
			if left := string(buf[:runtime.Stack(buf, true)]); strings.Contains(left, "devca.(*CA)") || strings.Contains(left, "(*Server).serve(") {
				t.Errorf("Run returned before what it started:\n%s", left)
			}
			http.DefaultClient.CloseIdleConnections()
			for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("goroutines left:\n%s", buf[:runtime.Stack(buf, true)])
				}
			}
		})
	}
}
