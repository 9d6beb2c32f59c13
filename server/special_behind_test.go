//go:build unix

package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// TestFIFOsBehindServer replaces, all at once, every further file that a running server reads by a FIFO that nobody writes
// to: a certificate in a folder of clientCA, an OpenAPI document, a credential and the key encryption key. Nothing waits
// for them: the certificate is reloaded, configuration reloads go on when the files are back, and the server ends.
//
// Holds: operator/special-files-refused
func TestFIFOsBehindServer(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(outside, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"ca", "secrets"} {
		if err := os.Mkdir(filepath.Join(outside, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	good := map[string]string{
		"ca/more.pem": string(pkitest.NewCA(t, "More CA").PEM()), "secrets/55": "a secret",
		"kek":       "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
		"pets.json": `{"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/p":{"get":{"operationId":"getPet","responses":{"200":{"description":"ok"}}}}}}`,
	}
	for name, text := range good {
		write(name, text)
	}
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string {
		yaml = strings.Replace(yaml, "clientCA: [ca.crt]", fmt.Sprintf("clientCA: [ca.crt, %q]", outside+"/ca"), 1)
		return yaml + fmt.Sprintf("credentials: {kek: %q, files: %q}\ntools: {openapi: [{name: pets, document: %q, operations: [\"*\"], "+
			"baseUrl: \"https://pets.example\", credentialId: 55}]}\n", "file:"+outside+"/kek", outside+"/secrets", outside+"/pets.json")
	}})
	swap := func() {
		for name := range good {
			file := filepath.Join(outside, name)
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(file, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		g.Server.Reload()
	}
	swap()
	failed := func() bool { return g.Metric("sangate_certificate_reloads_total", "result", "error") > 0 }
	if !servertest.WaitFor(failed, 10*time.Second) {
		t.Fatal("a FIFO in a folder of clientCA is no failed reload")
	}
	until := time.Now().Add(200 * 24 * time.Hour).Truncate(time.Second)
	g.CA.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}, IPs: []string{"127.0.0.1"}, NotAfter: until}).Write(t, g.Dir, "server")
	reloaded := func() bool {
		return g.Metric("sangate_certificate_not_after_timestamp_seconds", "role", "server") == float64(until.Unix())
	}
	if !servertest.WaitFor(reloaded, 10*time.Second) {
		t.Error("the certificate is not reloaded while other files are FIFOs")
	}
	for name, text := range good {
		if err := os.Remove(filepath.Join(outside, name)); err != nil {
			t.Fatal(err)
		}
		write(name, text)
	}
	g.Configure(func(yaml string) string { return yaml + "log: {level: warn}\n" })
	swap()
	select {
	case <-g.Stop():
	case <-time.After(30 * time.Second):
		t.Fatal("Run did not return while files are FIFOs")
	}
}
