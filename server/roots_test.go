package server_test

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca/steptest"
)

// The CA's root is replaced with overlap: clients under the old and the new one
// both work, over connections they keep, too. When the old root has gone from
// the CA and the new one's fingerprint is configured, what is anchored in the
// old alone is cut, and the gate is not restarted.
func TestRootRotation(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{Min: time.Second, Default: 10 * time.Second, NoBackdate: true})
	g := newEnrolledGate(t, ca, ca.URL)
	g.boot()
	g.serves()
	was := g.read()
	ca.AddRoot()
	g.until("both roots", func() bool { g.good(); return g.read().clientRoots == 2 })

	var err error
	if ca.RootPEM, err = os.ReadFile(ca.RootFile); err != nil { // what clients trust: both
		t.Fatal(err)
	}
	crt, key := g.pair("agent")
	kept := stepClient(t, ca, crt, key)
	ok := func(c *http.Client, what string) {
		t.Helper()
		if status, body := get(t, c, g.URL+"/tools", g.key); status != http.StatusOK {
			t.Fatalf("%s: %d %s", what, status, body)
		}
	}
	ok(kept, "under the old root")
	ca.SwitchRoot()
	ca.RootFile = filepath.Join(ca.Dir, "certs", "next_root.crt") // `step` takes one
	newcomer := g.client("newcomer")
	ok(newcomer, "under the new root")
	renewals := g.read().ok
	g.agent = kept // it knows both roots; the gate's next certificate is under the new one
	g.until("renewed under the new root", func() bool { ok(kept, "kept"); ok(newcomer, "kept, new"); return g.read().ok > renewals })
	ok(stepClient(t, ca, crt, key), "under the old root, anew")
	ca.DropRoot()
	ok(kept, "the CA has dropped its root")
	if now := g.read(); now.refused != was.refused || dials(kept) != 1 || dials(newcomer) != 1 {
		t.Errorf("%v handshakes refused, %d and %d connections", now.refused-was.refused, dials(kept), dials(newcomer))
	}

	g.edit(ca.Fingerprint, fingerprint(t, ca.RootFile))
	g.until("the old root is gone", func() bool { ok(newcomer, "kept, new"); return g.read().clientRoots == 1 })
	if status, body := get(t, kept, g.URL+"/tools", g.key); status != http.StatusUnauthorized {
		t.Errorf("the kept connection: %d %s", status, body)
	}
	if n := g.By(decisions, "reason")["cert_untrusted"]; n != 1 {
		t.Errorf("cert_untrusted %v times, want once", n)
	}
	now := g.read()
	if _, err := stepClient(t, ca, crt, key).Get(g.URL + "/health"); err == nil {
		t.Error("a handshake under the old root got through")
	}
	g.until("that is told", func() bool { return g.read().refused == now.refused+1 })
	if alerts := g.read().firing(now); alerts != "ClientsRefused" {
		t.Errorf("%q fire", alerts)
	}
	ok(newcomer, "kept, new")
	if dials(newcomer) != 1 {
		t.Errorf("%d connections of the new client, want the one", dials(newcomer))
	}
	g.stop()
	g.boot()
	g.serves()
	newcomer.CloseIdleConnections()
	ok(newcomer, "after a restart")
}

// What is kept of the roots may be missing where the certificate is there: the
// gate was killed between the two, or another root is configured now. It asks
// for them and starts.
func TestStartsWithoutKeptRoots(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t, steptest.Options{})
	g := newEnrolledGate(t, ca, ca.URL)
	g.boot()
	g.serves()
	g.stop()
	kept, err := filepath.Glob(filepath.Join(filepath.Dir(g.file), "state", "stepca", "roots-*.pem"))
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	if err := os.Remove(kept[0]); err != nil {
		t.Fatal(err)
	}
	g.boot()
	g.serves()
	g.good()
}

func fingerprint(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	return fmt.Sprintf("%x", sha256.Sum256(block.Bytes))
}
