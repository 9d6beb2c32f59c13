package devca_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/devca"
	"github.com/sangate/sangate/pki/stepca"
)

// run opens the CA in dir and serves it until stop is called.
func run(t *testing.T, dir string, opts devca.Options) (ca *devca.CA, c *stepca.Client, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ca, err = devca.Open(dir, "https://"+ln.Addr().String(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = stepca.New(ca.URL(), stepca.Options{Fingerprint: ca.Fingerprint()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ca.Serve(ctx, ln) }()
	stopped := false
	stop = func() {
		t.Helper()
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(stop)
	return ca, c, stop
}

func token(t *testing.T, ca *devca.CA, names ...string) string {
	t.Helper()
	tok, err := ca.Token(names[0], names...)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func get(t *testing.T, ca *devca.CA, path string) (*http.Response, []byte) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(ca.Root())
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true},
		Timeout:   10 * time.Second,
	}
	resp, err := client.Get(ca.URL() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// A restart continues: same root, old certificates renew, used tokens stay used.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	ca, c, stop := run(t, dir, devca.Options{})
	first, used := ca.Fingerprint(), token(t, ca, "gate")
	unused := token(t, ca, "later")
	pair, err := c.Enrol(t.Context(), used, stepca.Request{})
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := c.Enrol(t.Context(), token(t, ca, "revoked"), stepca.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(t.Context(), revoked, stepca.Reason{}); err != nil {
		t.Fatal(err)
	}
	stop()
	// step-ca by itself refuses tokens from a second before its start.
	for made := time.Now().Unix(); time.Now().Unix() == made; {
		time.Sleep(10 * time.Millisecond)
	}

	ca, c, _ = run(t, dir, devca.Options{})
	if ca.Fingerprint() != first {
		t.Error("another root")
	}
	if _, err := c.Renew(t.Context(), pair); err != nil {
		t.Errorf("renewal of a certificate from before: %v", err)
	}
	if _, err := c.Enrol(t.Context(), used, stepca.Request{}); err == nil {
		t.Error("a used token was taken again")
	}
	if _, err := c.Enrol(t.Context(), unused, stepca.Request{}); err != nil {
		t.Errorf("an unused token from before: %v", err)
	}
	if _, err := c.Renew(t.Context(), revoked); err == nil {
		t.Error("a revoked certificate was renewed")
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "ca")
	_, c, stop := run(t, dir, devca.Options{})
	if err := c.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v %v", info.Mode(), err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := devca.Open(dir, "https://localhost:1", devca.Options{}); !errors.Is(err, devca.ErrInUse) {
		t.Errorf("second Open: %v, want ErrInUse", err)
	}
	stop()
	again, err := devca.Open(dir, "https://localhost:1", devca.Options{})
	if err != nil {
		t.Fatalf("the folder is not free after Serve: %v", err)
	}
	if err := errors.Join(again.Close(), again.Close()); err != nil {
		t.Error(err)
	}
}

// What is damaged is not silently made anew: clients trust the old root.
func TestDamage(t *testing.T) {
	files := []string{"root_ca.crt", "intermediate_ca.crt", "intermediate_ca.key", "provisioner.json"}
	for _, name := range files {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ca, err := devca.Open(dir, "https://localhost:1", devca.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ca.Close()
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := devca.Open(dir, "https://localhost:1", devca.Options{}); err == nil || errors.Is(err, devca.ErrInUse) {
				t.Errorf("%v, want an error about the file", err)
			}
		})
	}
}

// An Open cut off before its end left nothing that anyone relies on.
func TestCutOff(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "root_ca.crt"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	ca, err := devca.Open(dir, "https://localhost:1", devca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ca.Close()
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name, url string
		opts      devca.Options
	}{
		{"http", "http://localhost:1", devca.Options{}},
		{"no host", "https://:9443", devca.Options{}},
		{"a path", "https://localhost/ca", devca.Options{}},
		{"a bad name", "https://localhost", devca.Options{Names: []string{"a b"}}},
		{"lifetimes crossed", "https://localhost", devca.Options{Default: time.Hour, Min: 2 * time.Hour}},
		{"max below default", "https://localhost", devca.Options{Max: time.Hour}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := devca.Open(t.TempDir(), tt.url, tt.opts); err == nil {
				t.Error("taken")
			}
		})
	}
}

// Serve leaves nothing running behind, idle connections and all.
func TestServeEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	_, c, stop := run(t, t.TempDir(), devca.Options{})
	if err := c.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	// The library's CRL ticker and the closed client connections are told, not
	// waited for.
	end := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("goroutines left:\n%s", buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}

func TestServeOnce(t *testing.T) {
	ca, err := devca.Open(t.TempDir(), "https://localhost:1", devca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ca.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Serve(t.Context(), ln); err == nil {
		t.Error("a closed CA serves")
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}
