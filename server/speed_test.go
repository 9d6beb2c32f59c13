package server_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/servertest"
)

// A rawClient is a client that costs nothing: one connection, and one request that is
// sent as it stands, over and over.
type rawClient struct {
	conn    *tls.Conn
	r       *bufio.Reader
	request []byte
	body    []byte // of the last answer
}

func newRawClient(t testing.TB, addr string, config *tls.Config, request []byte) *rawClient {
	t.Helper()
	config = config.Clone()
	config.NextProtos = nil
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &rawClient{conn: conn, r: bufio.NewReaderSize(conn, 64<<10), request: request, body: make([]byte, 0, 64<<10)}
}

// requestBytes is a request as it goes over the wire, of HTTP/1.1.
func requestBytes(method, path, host, body string, header ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	if method == http.MethodPost {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", header[i], header[i+1])
	}
	return []byte(b.String() + "\r\n" + body)
}

// ask sends the request and reads the answer. It allocates nothing but where it
// fails.
func (w *rawClient) ask(t testing.TB) {
	if _, err := w.conn.Write(w.request); err != nil {
		t.Fatal(err)
	}
	length := -1
	for first := true; ; first = false {
		line, err := w.r.ReadSlice('\n')
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case first && string(line[:len("HTTP/1.1 200")]) != "HTTP/1.1 200":
			t.Fatalf("%s", line)
		case len(line) == 2:
			if length < 0 || length > cap(w.body) {
				t.Fatalf("an answer of %d bytes", length)
			}
			w.body = w.body[:length]
			if _, err := io.ReadFull(w.r, w.body); err != nil {
				t.Fatal(err)
			}
			return
		case len(line) > 16 && string(line[:16]) == "Content-Length: ":
			length = 0
			for _, digit := range line[16 : len(line)-2] {
				length = length*10 + int(digit-'0')
			}
		}
	}
}

// cost is what n answers cost the whole process, for each.
func (w *rawClient) cost(t testing.TB, n int) (mallocs, bytes float64) {
	for range 200 {
		w.ask(t)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		w.ask(t)
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(n), float64(after.TotalAlloc-before.TotalAlloc) / float64(n)
}

// bareServer is net/http with mTLS and nothing else: it reads the body and gives
// that answer.
func bareServer(t testing.TB, ca *pkitest.CA, header http.Header, body []byte) string {
	t.Helper()
	cert := ca.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}, IPs: []string{"127.0.0.1"}}).TLS
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			for name, values := range header {
				w.Header()[name] = values
			}
			_, _ = w.Write(body)
		})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.ServeTLS(ln, "", "") }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return ln.Addr().String()
}

// hotCalls are the calls that make up the load.
var hotCalls = []struct {
	name, path, body string
	header           []string
}{
	{"octopus", "/tool/echo/call", `{"arguments":{"message":"The quick brown fox jumps over the lazy dog."}}`, nil},
	{"mcp 2025-11-25", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"The quick brown fox jumps over the lazy dog."}}}`,
		[]string{"Accept", "application/json, text/event-stream", "Mcp-Protocol-Version", "2025-11-25"}},
	{"mcp 2026-07-28", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"The quick brown fox jumps over the lazy dog."},` +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}}}`,
		[]string{"Accept", "application/json, text/event-stream", "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "echo"}},
}

// TestCallAllocations: a call allocates at most 2 KiB in 20 pieces beyond what
// net/http does for the same answer.
func TestCallAllocations(t *testing.T) {
	if pkitest.Race {
		t.Skip("the race detector allocates, too")
	}
	g := servertest.Start(t, servertest.Options{})
	for _, call := range hotCalls {
		t.Run(call.name, func(t *testing.T) {
			header := append([]string{"Authorization", "Bearer " + g.Key("acme"), "X-Octopus-Tenant-Id", "acme"}, call.header...)
			config := g.TLS(g.Cert("acme"))
			gate := newRawClient(t, g.Addr, config, requestBytes("POST", call.path, g.Addr, call.body, header...))
			gate.ask(t)
			like := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Request-Id": {strings.Repeat("A", 26)}}
			addr := bareServer(t, g.CA, like, append([]byte(nil), gate.body...))
			bare := newRawClient(t, addr, config, requestBytes("POST", call.path, addr, call.body, header...))
			gm, gb := gate.cost(t, 2000)
			bm, bb := bare.cost(t, 2000)
			t.Logf("%s beyond net/http: %.1f allocations, %.0f bytes (net/http: %.1f, %.0f)", strconv.Quote(call.name), gm-bm, gb-bb, bm, bb)
			if gm-bm > 20 || gb-bb > 2048 {
				t.Errorf("%.1f allocations and %.0f bytes beyond net/http, at most 20 and 2048 are meant to be", gm-bm, gb-bb)
			}
		})
	}
}

func BenchmarkCall(b *testing.B) {
	g := servertest.Start(b, servertest.Options{})
	for _, call := range hotCalls {
		b.Run(call.name, func(b *testing.B) {
			header := append([]string{"Authorization", "Bearer " + g.Key("acme"), "X-Octopus-Tenant-Id", "acme"}, call.header...)
			config := g.TLS(g.Cert("acme"))
			w := newRawClient(b, g.Addr, config, requestBytes("POST", call.path, g.Addr, call.body, header...))
			w.ask(b)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				w.ask(b)
			}
		})
	}
}
