package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca/steptest"
	"github.com/sangate/sangate/server"
	"github.com/sangate/sangate/server/apikey"
)

// A real step-ca issues both ends' certificates by its own command line. The
// gate takes what `step` rewrites in place, and a client certificate that ends
// while its connection is open gets 401 and a closed connection.
func TestWithRealStepCA(t *testing.T) {
	ca := steptest.Start(t, steptest.Options{Min: time.Second})
	dir := t.TempDir()
	issue := func(name string, args []string, sans ...string) (crt, key string) {
		crt, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
		ca.Step(append([]string{"ca", "certificate", name, crt, key, "--ca-url", ca.URL, "--root", ca.RootFile,
			"--token", ca.Token(name, sans...), "--force"}, args...)...)
		return crt, key
	}
	serverCrt, serverKey := issue("gate", nil, "localhost", "127.0.0.1")
	clientCrt, clientKey := issue("agent", nil, "spiffe://example.org/tenant/acme/agent-1")
	apiKey, id, err := apikey.Mint()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sangate.yaml")
	text := fmt.Sprintf(`
state: state
tls: {cert: %s, key: %s, clientCA: [%s]}
tenants:
  - id: acme
    sans: ["uri:spiffe://example.org/tenant/acme/*"]
    keys: [{id: %s, sha256: "%x"}]
`, serverCrt, serverKey, ca.RootFile, id, apikey.Digest(apiKey))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	url := runGate(t, file)

	client := stepClient(t, ca, clientCrt, clientKey)
	if status, body := get(t, client, url+"/tools", apiKey); status != http.StatusOK {
		t.Fatalf("GET /tools: %d %s", status, body)
	}
	if status, body := whoami(t, client, url, apiKey); status != http.StatusOK || body["tenant"] != "acme" ||
		body["identity"] != "spiffe://example.org/tenant/acme/agent-1" {
		t.Fatalf("whoami: %d %v", status, body)
	}

	// Renewed in place by `step`, certificate then key, not atomically.
	before := serial(t, client, url, apiKey)
	ca.Step("ca", "rekey", serverCrt, serverKey, "--ca-url", ca.URL, "--root", ca.RootFile, "--force")
	waitFor(t, 2*time.Second, func() bool {
		return serial(t, stepClient(t, ca, clientCrt, clientKey), url, apiKey) != before
	})

	shortCrt, shortKey := issue("short", []string{"--not-after", "4s"}, "spiffe://example.org/tenant/acme/short")
	short := stepClient(t, ca, shortCrt, shortKey)
	if status, body := get(t, short, url+"/tools", apiKey); status != http.StatusOK {
		t.Fatalf("GET /tools before the certificate ends: %d %s", status, body)
	}
	leaf := readLeaf(t, shortCrt)
	waitFor(t, time.Until(leaf.NotAfter)+time.Second, func() bool {
		status, _ := get(t, short, url+"/tools", apiKey)
		return status == http.StatusUnauthorized
	})
	if time.Now().Before(leaf.NotAfter) {
		t.Error("refused before the certificate ended")
	}
	if conns := dials(short); conns != 1 {
		t.Fatalf("%d connections before the 401; the test is about the first", conns)
	}
	if _, err := short.Get(url + "/health"); err == nil {
		t.Error("the connection was not closed: a request after the 401 got through")
	}
}

func runGate(t *testing.T, file string) (url string) {
	t.Helper()
	url, _ = runLoggedGate(t, file, io.Discard)
	return url
}

// runLoggedGate runs a gate until the test ends or it is stopped; then all of
// its log has been written.
func runLoggedGate(t *testing.T, file string, log io.Writer) (url string, stop func()) {
	t.Helper()
	main, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(t.Context(), server.Options{ConfigFile: file, Listener: main, AdminListener: admin,
		Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return "https://" + main.Addr().String(), stop
}

// A dialCounter is a transport that tells how many connections it made.
type dialCounter struct {
	*http.Transport
	count int
}

func dials(c *http.Client) int { return c.Transport.(*dialCounter).count }

func stepClient(t *testing.T, ca *steptest.CA, crt, key string) *http.Client {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(crt, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.RootPEM)
	tr := &dialCounter{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		tr.count++ // one request at a time
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func get(t *testing.T, c *http.Client, url, key string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func whoami(t *testing.T, c *http.Client, url, key string) (status int, body map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/tool/whoami/call", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("X-Octopus-Tenant-Id", "acme")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// serial asks the gate for its certificate on a connection of its own.
func serial(t *testing.T, c *http.Client, url, key string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatalf("during a rekey: %v", err)
	}
	res.Body.Close()
	return res.TLS.PeerCertificates[0].SerialNumber.String()
}

func readLeaf(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(file, file[:len(file)-len(".crt")]+".key")
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func waitFor(t *testing.T, limit time.Duration, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v", limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
