package dev_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/server/dev"
)

// A gate is one that runs until it is stopped.
type gate struct {
	dev.Gate
	stop func() error
}

// start runs the gate on free ports and waits until it is up.
func start(t *testing.T, opts dev.Options) *gate {
	t.Helper()
	for _, addr := range []*string{&opts.Listen, &opts.Admin, &opts.CA} {
		if *addr == "" {
			*addr = "127.0.0.1:0"
		}
	}
	ready := make(chan dev.Gate, 1)
	opts.Ready = func(g dev.Gate) { ready <- g }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var err error
	go func() { defer close(done); err = dev.Run(ctx, opts) }()
	stop := func() error { cancel(); <-done; return err }
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case g := <-ready:
		return &gate{g, stop}
	case <-done:
		t.Fatalf("it did not come up: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("it does not come up")
	}
	return nil
}

// once provisions the folder.
func once(t *testing.T, opts dev.Options) dev.Gate {
	t.Helper()
	var told dev.Gate
	opts.CA, opts.Once, opts.Ready = "127.0.0.1:0", true, func(g dev.Gate) { told = g }
	if err := dev.Run(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	return told
}

func read(t *testing.T, names ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(names...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// pair is what is in a folder, of "server" or "clients/acme".
func pair(dir, name string) (*stepca.Pair, error) {
	base := filepath.Join(dir, filepath.FromSlash(name))
	for tries := 0; ; tries++ {
		p, err := stepca.ReadFiles(base+".crt", base+".key")
		// Both may be replaced between the reading of one and of the other.
		if !errors.Is(err, stepca.ErrMismatch) || tries == 10 {
			return p, err
		}
	}
}

func leaf(t *testing.T, dir, name string) *x509.Certificate {
	t.Helper()
	p, err := pair(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return p.Leaf()
}

// client presents the certificate that is on disk at the time, over a new
// connection for each request.
func client(t *testing.T, dir, tenant string) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(read(t, dir, "root_ca.crt"))) {
		t.Fatal("no certificate in root_ca.crt")
	}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			p, err := pair(dir, "clients/"+tenant)
			if err != nil {
				return nil, err
			}
			own := p.TLS()
			return &own, nil
		}},
	}}
}

// ask sends a request as tenant, with the key of tenant, and returns the status
// and the body; a body makes it a POST.
func (g *gate) ask(t *testing.T, tenant, keyOf, path, body string) (int, string) {
	t.Helper()
	status, answer, err := g.try(client(t, g.Dir, tenant), read(t, g.Dir, "clients", keyOf+".token"), path, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, answer
}

func (g *gate) try(c *http.Client, token, path, body string) (int, string, error) {
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequest(method, g.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if path == "/mcp" {
		r.Header.Set("MCP-Protocol-Version", "2025-11-25")
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

// works says by which serial number acme is known, when all is well.
func (g *gate) works(t *testing.T) (serial string) {
	t.Helper()
	status, body := g.ask(t, "acme", "acme", "/tool/whoami/call", `{"arguments":{}}`)
	var who struct{ Tenant, Identity, Serial string }
	if err := json.Unmarshal([]byte(body), &who); status != http.StatusOK || err != nil || who.Tenant != "acme" {
		t.Fatalf("whoami: %d %s", status, body)
	}
	return who.Serial
}

func TestBothDialects(t *testing.T) {
	g := start(t, dev.Options{Dir: t.TempDir(), Version: "v1.2.3"})
	const listMCP = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	const echoMCP = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}`
	tests := []struct {
		name, tenant, key, path, body string
		status                        int
		want                          []string
	}{
		{"list", "acme", "acme", "/tools", "", 200, []string{`[{`, `"whoami"`, `"echo"`, `"certificate_inspect"`, `"gate_certificates"`}},
		{"call", "acme", "acme", "/tool/whoami/call", `{}`, 200, []string{`"acme"`, dev.SPIFFEID("acme"), `"api_key"`}},
		{"the other tenant", "globex", "globex", "/tool/whoami/call", `{}`, 200, []string{`"globex"`, dev.SPIFFEID("globex")}},
		{"list over MCP", "acme", "acme", "/mcp", listMCP, 200, []string{`"whoami"`, `"gate_certificates"`}},
		{"call over MCP", "acme", "acme", "/mcp", echoMCP, 200, []string{`"structuredContent":{"message":"hello"}`}},
		{"another's key", "globex", "acme", "/tools", "", 403, []string{`"forbidden"`}},
		{"another's key over MCP", "globex", "acme", "/mcp", echoMCP, 403, []string{`"forbidden"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body := g.ask(t, tt.tenant, tt.key, tt.path, tt.body)
			if status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
			for _, want := range tt.want {
				if !strings.Contains(body, want) {
					t.Errorf("%s is not in %s", want, body)
				}
			}
		})
	}
	for path, want := range map[string]string{"/readyz": `"ready":true`, "/metrics": `version="v1.2.3"`} {
		resp, err := http.Get(g.AdminURL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s: %d %v, want %s in it", path, resp.StatusCode, err, want)
		}
	}
}

// What is told must be what one can connect to, whatever was listened on.
func TestEveryAddress(t *testing.T) {
	for _, host := range []string{"", "0.0.0.0", "localhost"} {
		t.Run(fmt.Sprintf("%q", host), func(t *testing.T) {
			g := start(t, dev.Options{Dir: t.TempDir(), Listen: host + ":0", Admin: host + ":0", CA: host + ":0"})
			g.works(t)
			resp, err := http.Get(g.AdminURL + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			ca, err := stepca.New(g.CAURL, stepca.Options{Fingerprint: g.Fingerprint})
			if err != nil {
				t.Fatal(err)
			}
			if err := ca.Health(t.Context()); err != nil {
				t.Error(err)
			}
			for _, url := range []string{g.URL, g.AdminURL, g.CAURL} {
				if strings.Contains(url, "://0.0.0.0:") || strings.Contains(url, "://[::]:") {
					t.Errorf("%s: no certificate is for that", url)
				}
			}
		})
	}
}
