//go:build unix

package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// TestSpecialFilesDoNotHoldUpReloads replaces each kind of file that a running server
// reads by what would block a reader or fill its memory. The reload fails at once,
// probes are answered, and reloads go on when the file is back.
//
// Holds: operator/special-files-refused
func TestSpecialFilesDoNotHoldUpReloads(t *testing.T) {
	t.Parallel()
	p := servertest.NewIssuer(t)
	g := servertest.Start(t, servertest.Options{
		Files: map[string]string{"denylist": "# none\n", "jwks.json": string(p.JWKS())},
		Config: func(yaml string) string {
			yaml = strings.Replace(yaml, "clientCA: [ca.crt]", "clientCA: [ca.crt], revocation: {denylist: denylist}", 1)
			return yaml + fmt.Sprintf("issuers: [{name: filed, issuer: %q, audiences: [gate], jwksFile: jwks.json, tenantClaim: tenant}]\n", p.URL)
		},
	})
	replacements := map[string]func(name string) error{
		"FIFO":      func(name string) error { return syscall.Mkfifo(name, 0o600) },
		"/dev/zero": func(name string) error { return os.Symlink("/dev/zero", name) },
		"folder":    func(name string) error { return os.Mkdir(name, 0o700) },
		"1 TB": func(name string) error { // a hole: takes no space
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(name, 1<<40)
		},
	}
	for _, file := range []struct{ name, reload string }{
		{"sangate.yaml", "config"}, {"jwks.json", "config"}, {"denylist", "certificate"}, {"ca.crt", "certificate"}, {"server.key", "certificate"},
	} {
		for what, replace := range replacements {
			name := filepath.Join(g.Dir, file.name)
			good, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			failed := func() float64 { return g.Metric("sangate_"+file.reload+"_reloads_total", "result", "error") }
			before := failed()
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if err := replace(name); err != nil {
				t.Fatal(err)
			}
			g.Server.Reload()
			if !servertest.WaitFor(func() bool { return failed() > before }, 10*time.Second) {
				t.Fatalf("%s as a %s: no %s reload failed", file.name, what, file.reload)
			}
			res, err := http.Get(g.AdminURL + "/readyz")
			if err != nil {
				t.Fatalf("%s as a %s: /readyz: %v", file.name, what, err)
			}
			res.Body.Close()
			if err := os.RemoveAll(name); err != nil { // a file does not replace a folder
				t.Fatal(err)
			}
			g.Write(file.name, good)
		}
	}
	g.Configure(func(yaml string) string { return yaml + "log: {level: warn}\n" })
	g.Change("certificate", func() {
		g.CA.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}, IPs: []string{"127.0.0.1"}}).Write(t, g.Dir, "server")
	})
	// A file that cannot be read does not keep the server from ending.
	if err := os.Remove(filepath.Join(g.Dir, "sangate.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(g.Dir, "sangate.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Server.Reload()
	select {
	case <-g.Stop():
	case <-time.After(30 * time.Second):
		t.Fatal("Run did not return while the configuration is a FIFO")
	}
}
