package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sangate/sangate/pki/pkitest"
)

const (
	oddFrames  = 2000
	unasked    = "sk-0123456789"
	publicKeys = `{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",` +
		`"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`
	issuerBlock = "issuers: [{name: unasked, issuer: %[1]q, jwksURL: %[1]q, audiences: [x], caFile: ca.crt," +
		" tenants: [{tenant: acme, claims: {tid: a}}]}]\n"
	upstreamBlock = "mcpServers: [{name: frames, baseUrl: %q, protocol: mcp, caFile: ca.crt}]\n"
)

// net/http writes to the log package's own logger what servers make it write: a line for
// each frame of a kind that it does not expect, and what comes behind an answer.
//
// Holds: upstream/library-lines
func TestServersFillNoLog(t *testing.T) {
	t.Cleanup(func() { stdlog.SetFlags(stdlog.LstdFlags); stdlog.SetOutput(os.Stderr) })
	dir := t.TempDir()
	ca := pkitest.NewCA(t, "Test CA")
	ca.Issue(t, pkitest.Leaf{DNS: []string{"localhost"}, IPs: []string{"127.0.0.1"}}).Write(t, dir, "server")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	text := `state: state
log: {level: debug, format: json}
tls: {cert: server.crt, key: server.key, clientCA: [ca.crt]}
tenants: [{id: acme, sans: ["dns:acme.example"], secondFactor: none}]
egress: {allow: [127.0.0.0/8]}
`
	text += fmt.Sprintf(upstreamBlock, oddServer(t, pair, "h2", sendFrames))
	text += fmt.Sprintf(issuerBlock, oddServer(t, pair, "http/1.1", sendUnasked))
	file := filepath.Join(dir, "sangate.yaml")
	for name, data := range map[string][]byte{file: []byte(text), filepath.Join(dir, "ca.crt"): ca.PEM()} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := &lines{news: make(chan struct{}, 1)}
	stdlog.SetOutput(said) // as in the process, whose standard error is one
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		args := []string{"serve", "--config", file, "--set", "listen=127.0.0.1:0", "--set", "admin=127.0.0.1:0"}
		ended <- run(ctx, args, nil, said, said)
	}()
	said.await(t, func(all string) bool {
		return strings.Contains(all, "upstream is unavailable") && strings.Contains(all, "Unsolicited response")
	})
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
	all := said.String()
	if n := strings.Count(all, "unhandled response frame"); n == 0 || n > oddFrames/4 {
		t.Errorf("%d lines for %d frames", n, oddFrames)
	}
	if strings.Contains(all, unasked) {
		t.Error("what a server sent is repeated")
	}
	for line := range strings.Lines(all) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a line of the gate's log: %.200q", line)
			break
		}
	}
}

// oddServer answers each connection by send, and returns its URL.
func oddServer(t *testing.T, pair tls.Certificate, protocol string, send func(net.Conn) error) string {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{protocol}}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				if send(conn) == nil {
					_, _ = io.Copy(io.Discard, conn) // until the gate goes
				}
			})
		}
	})
	return fmt.Sprintf("https://localhost:%d/keys", l.Addr().(*net.TCPAddr).Port)
}

// sendFrames answers after frames of a kind that clients do not expect.
func sendFrames(conn net.Conn) error {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	f := http2.NewFramer(conn, conn)
	if err := f.WriteSettings(); err != nil {
		return err
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return err
		}
		if asked, ok := frame.(*http2.HeadersFrame); ok {
			for range oddFrames {
				if err := f.WriteRawFrame(0xee, 0, 0, nil); err != nil {
					return err
				}
			}
			var head strings.Builder
			e := hpack.NewEncoder(&head)
			_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"}) // a Builder takes all
			_ = e.WriteField(hpack.HeaderField{Name: "content-type", Value: "application/json"})
			p := http2.HeadersFrameParam{StreamID: asked.StreamID, BlockFragment: []byte(head.String()), EndHeaders: true}
			if err := f.WriteHeaders(p); err != nil {
				return err
			}
			return f.WriteData(asked.StreamID, true, []byte(publicKeys))
		}
	}
}

// sendUnasked sends more than an answer.
func sendUnasked(conn net.Conn) error {
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%sX-Key: %s\r\n",
		len(publicKeys), publicKeys, unasked)
	return err
}

// lines are what a gate writes.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	news chan struct{} // has room for one
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until enough is there.
func (l *lines) await(t *testing.T, enough func(string) bool) {
	t.Helper()
	for limit := time.After(time.Minute); !enough(l.String()); {
		select {
		case <-l.news:
		case <-limit:
			t.Fatalf("not there in a minute; there is: %.2000s", l.String())
		}
	}
}
