package dev_test

import (
	"crypto/x509"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/dev"
)

func TestOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "dev")
	told := once(t, dev.Options{Dir: dir})
	if told.Dir != dir || told.URL != "" || told.AdminURL != "" || len(told.Fingerprint) != 64 {
		t.Errorf("told %+v", told)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(told.CAURL, "https://")); err == nil {
		c.Close()
		t.Error("the CA still listens")
	}
	public := []string{"root_ca.crt", "server.crt", "clients/acme.crt", "clients/globex.crt", "sangate.yaml"}
	private := []string{"server.key", "clients/acme.key", "clients/globex.key", "clients/acme.token", "clients/globex.token"}
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		name = filepath.ToSlash(name)
		want := fs.FileMode(0o600)
		switch {
		case d.IsDir():
			want = 0o700
		case slices.Contains(public, name):
			want = 0o644
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		}
		if top, _, _ := strings.Cut(name, "/"); !d.IsDir() && top != "ca" && top != "state" {
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values(append(public, private...)))
	if slices.Sort(found); !slices.Equal(found, want) {
		t.Errorf("files %q, want %q", found, want)
	}
}

// state is what a second start must not change.
func state(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"root_ca.crt", "sangate.yaml", "server.crt", "server.key", "clients/acme.crt",
		"clients/acme.key", "clients/acme.token", "clients/globex.crt", "clients/globex.key", "clients/globex.token"} {
		all[name] = read(t, dir, name)
	}
	return all
}

// changed returns the names of what is another now, sorted.
func changed(before, after map[string]string) (names []string) {
	for name := range before {
		if before[name] != after[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestSecondStart(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dev.Options{Dir: dir})
	serial := first.works(t)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	// The configuration is the user's: another tenant may call by acme's certificate.
	edited := strings.Replace(read(t, dir, "sangate.yaml"), "log:", "# mine\n  - id: initech\n    sans: [\"uri:spiffe://initech.example/*\"]\nlog:", 1)
	if err := os.WriteFile(filepath.Join(dir, "sangate.yaml"), []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	before := state(t, dir)
	if before["sangate.yaml"] != edited || !strings.Contains(edited, "initech") {
		t.Fatal("not edited")
	}
	second := start(t, dev.Options{Dir: dir})
	if again := second.works(t); again != serial {
		t.Errorf("serial %s, before %s", again, serial)
	}
	if second.Fingerprint != first.Fingerprint {
		t.Error("another root")
	}
	if names := changed(before, state(t, dir)); names != nil {
		t.Errorf("%q changed", names)
	}
}

// What is no more use is made anew, and nothing else.
func TestMending(t *testing.T) {
	write := func(t *testing.T, text string, names ...string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(names...), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(t *testing.T, names ...string) {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(names...)); err != nil {
			t.Fatal(err)
		}
	}
	pairs := []string{"clients/acme.crt", "clients/acme.key", "clients/globex.crt", "clients/globex.key", "server.crt", "server.key"}
	tests := []struct {
		name string
		harm func(t *testing.T, dir string)
		want []string
	}{
		{"nothing", func(*testing.T, string) {}, nil},
		{"the server's key is gone", func(t *testing.T, dir string) { remove(t, dir, "server.key") }, []string{"server.crt", "server.key"}},
		{"a client's certificate is half", func(t *testing.T, dir string) {
			write(t, read(t, dir, "clients/acme.crt")[:100], dir, "clients/acme.crt")
		}, []string{"clients/acme.crt", "clients/acme.key"}},
		{"a client has another's pair", func(t *testing.T, dir string) {
			write(t, read(t, dir, "clients/globex.crt"), dir, "clients/acme.crt")
			write(t, read(t, dir, "clients/globex.key"), dir, "clients/acme.key")
		}, []string{"clients/acme.crt", "clients/acme.key"}},
		{"a token is gone", func(t *testing.T, dir string) { remove(t, dir, "clients/acme.token") }, []string{"clients/acme.token"}},
		{"a tenant has another's token", func(t *testing.T, dir string) {
			write(t, read(t, dir, "clients/acme.token"), dir, "clients/globex.token")
		}, []string{"clients/globex.token"}},
		{"the state is gone", func(t *testing.T, dir string) { remove(t, dir, "state") }, []string{"clients/acme.token", "clients/globex.token"}},
		{"the CA is gone", func(t *testing.T, dir string) { remove(t, dir, "ca") },
			slices.Sorted(slices.Values(append([]string{"root_ca.crt"}, pairs...)))},
		{"the root is gone", func(t *testing.T, dir string) { remove(t, dir, "root_ca.crt") }, nil},
		{"the configuration is gone", func(t *testing.T, dir string) { remove(t, dir, "sangate.yaml") }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			once(t, dev.Options{Dir: dir})
			before := state(t, dir)
			tt.harm(t, dir)
			once(t, dev.Options{Dir: dir})
			if names := changed(before, state(t, dir)); !slices.Equal(names, tt.want) {
				t.Errorf("changed: %q, want %q", names, tt.want)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM([]byte(read(t, dir, "root_ca.crt")))
			for _, name := range []string{"server", "clients/acme", "clients/globex"} {
				c := leaf(t, dir, name)
				chain := x509.NewCertPool()
				chain.AppendCertsFromPEM([]byte(read(t, dir, name+".crt")))
				if _, err := c.Verify(x509.VerifyOptions{Roots: roots, Intermediates: chain, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if tenant, is := strings.CutPrefix(name, "clients/"); is && (len(c.URIs) != 1 || c.URIs[0].String() != dev.SPIFFEID(tenant)) {
					t.Errorf("%s is of %v", name, c.URIs)
				}
			}
			if read(t, dir, "clients/acme.token") == read(t, dir, "clients/globex.token") {
				t.Error("two tenants have one token")
			}
		})
	}
}

// One that would end before a renewer gets to it is not started with.
func TestNearlyExpiredAtStart(t *testing.T) {
	dir := t.TempDir()
	opts := dev.Options{Dir: dir, Lifetime: 6 * time.Second} // step-ca dates back by a minute: under a tenth
	once(t, opts)
	before := leaf(t, dir, "server")
	once(t, opts)
	if leaf(t, dir, "server").Equal(before) {
		t.Error("it is kept")
	}
}

func TestExpiredAtStart(t *testing.T) {
	dir := t.TempDir()
	once(t, dev.Options{Dir: dir, Lifetime: 2 * time.Second})
	before := state(t, dir)
	for _, name := range []string{"server", "clients/acme", "clients/globex"} {
		end := leaf(t, dir, name).NotAfter
		if left := time.Until(end); left > 10*time.Second {
			t.Fatalf("%s lasts %v", name, left)
		} else {
			time.Sleep(left + time.Millisecond) // its end is what is waited for
		}
	}
	g := start(t, dev.Options{Dir: dir})
	g.works(t)
	for _, name := range []string{"server", "clients/acme", "clients/globex"} {
		if left := time.Until(leaf(t, dir, name).NotAfter); left < time.Hour {
			t.Errorf("%s is good for %v", name, left)
		}
	}
	after := state(t, dir)
	for _, name := range []string{"root_ca.crt", "clients/acme.token", "clients/globex.token", "sangate.yaml"} {
		if before[name] != after[name] {
			t.Errorf("%s changed", name)
		}
	}
}
