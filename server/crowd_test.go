package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
	"github.com/sangate/sangate/server/tool"
)

// crowdVariable has the test's own program be a crowd of clients: address, folder,
// how many and what each asks, after which it says nothing more.
const crowdVariable = "SANGATE_TEST_CROWD"

// TestCrowd is the crowd, in a process of its own: both ends of ten thousand
// connections are more than one may hold.
func TestCrowd(t *testing.T) {
	args := strings.Split(os.Getenv(crowdVariable), "|")
	if len(args) != 4 {
		t.Skip("it is what other tests run")
	}
	addr, dir := args[0], args[1]
	n, err := strconv.Atoi(args[2])
	if err != nil {
		t.Fatal(err)
	}
	request, err := os.ReadFile(filepath.Join(dir, args[3]))
	if err != nil {
		t.Fatal(err)
	}
	config := agentTLS(t, dir)
	var told, closed atomic.Int64
	var opening sync.WaitGroup
	turns := make(chan struct{}, 16)
	for range n {
		turns <- struct{}{}
		opening.Go(func() {
			defer func() { <-turns }()
			c, err := tls.Dial("tcp", addr, config)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := c.Write(request); err != nil {
				t.Error(err)
				return
			}
			r := bufio.NewReaderSize(c, 1024)
			if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
				t.Errorf("%q, %v", line, err)
			}
			go func() {
				for {
					line, err := r.ReadString('\n')
					if strings.Contains(line, "list_changed") {
						told.Add(1)
					}
					if err != nil || line == "0\r\n" { // the connection, or the stream on it
						closed.Add(1)
						return
					}
				}
			}()
		})
	}
	opening.Wait()
	if t.Failed() {
		return
	}
	fmt.Println("all open")
	for saidTold := false; closed.Load() < int64(n); time.Sleep(5 * time.Millisecond) {
		if told.Load() == int64(n) && !saidTold {
			fmt.Println("all told")
			saidTold = true
		}
	}
	fmt.Println("all closed")
}

// agentTLS returns the configuration of the client whose certificate is in a gate's folder.
func agentTLS(t *testing.T, dir string) *tls.Config {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "agent.crt"), filepath.Join(dir, "agent.key"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	return &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{cert}}
}

// crowd runs one, and returns what waits for its next word.
func crowd(t *testing.T, g *servertest.Gate, n int, request string) (hears func(word string, limit time.Duration)) {
	t.Helper()
	g.Write("request", []byte(request))
	g.Cert("acme").Write(t, g.Dir, "agent")
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrowd$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), crowdVariable+"="+strings.Join([]string{g.Addr, g.Dir, strconv.Itoa(n), "request"}, "|"))
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	words := make(chan string, 100)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			words <- lines.Text()
		}
		close(words)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it may have been killed
	})
	return func(want string, limit time.Duration) {
		t.Helper()
		late := time.After(limit)
		for {
			select {
			case word, ok := <-words:
				if word == want {
					return
				}
				if !ok {
					t.Fatalf("the crowd has gone before %q: %s", want, complaints.String())
				}
				t.Log(word)
			case <-late:
				t.Fatalf("not %q within %v", want, limit)
			}
		}
	}
}

// Ten thousand connections that do nothing are held, calls go on beside them, and
// all are closed when their certificate is no longer good, ten seconds after it: by
// then a client that asks again has been told why.
func TestScaleIdle(t *testing.T) {
	atScale(t)
	const n = 10_000
	g := servertest.Start(t, servertest.Options{})
	hears := crowd(t, g, n, "GET /tools HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+g.Key("acme")+"\r\n\r\n")
	hears("all open", 3*time.Minute)
	if open := g.Metric("sangate_connections_open"); open < n {
		t.Errorf("%v connections are open", open)
	}
	globex := g.Client(g.Cert("globex"))
	for range 100 {
		if res := ask(t, globex, http.MethodGet, g.URL+"/tools", "", "Authorization: Bearer "+g.Key("globex")); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
	}
	g.Write("denied", []byte("san:uri:"+acmeURI+"\n"))
	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "clientCA:", "revocation: {denylist: denied}, clientCA:", 1)
	})
	begun := time.Now()
	if !servertest.WaitFor(func() bool { return g.Metric("sangate_connections_open") <= 2 }, 30*time.Second) {
		t.Errorf("%v connections are open", g.Metric("sangate_connections_open"))
	}
	hears("all closed", time.Second)
	t.Logf("closed within %v", time.Since(begun))
}

// Two thousand streams are told of a change, and end when their tenant does.
func TestScaleStreams(t *testing.T) {
	atScale(t)
	const n = 2_000
	g := servertest.Start(t, servertest.Options{Config: allowTools})
	body := listenBody
	hears := crowd(t, g, n, fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"+
		"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen\r\nContent-Length: %d\r\n\r\n%s", g.Key("acme"), len(body), body))
	hears("all open", time.Minute)
	if open := g.Metric("sangate_streams_open"); open != n {
		t.Errorf("%v streams are open", open)
	}
	begun := time.Now()
	if err := g.Server.Offer(tool.Offer{Tools: quietTool("another", "").Tools}); err != nil {
		t.Fatal(err)
	}
	hears("all told", 30*time.Second)
	t.Logf("told within %v", time.Since(begun))
	g.Configure(func(yaml string) string {
		return strings.Replace(yaml, "  - id: acme\n", "  - id: acme\n    enabled: false\n", 1)
	})
	begun = time.Now()
	hears("all closed", 30*time.Second)
	t.Logf("ended within %v", time.Since(begun))
	if open := g.Metric("sangate_streams_open"); open != 0 {
		t.Errorf("%v streams are open", open)
	}
}
