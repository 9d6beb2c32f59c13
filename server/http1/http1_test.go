package http1_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/http1"
)

// What a client does, and what it and the handler see of it, when.
type scenario struct {
	name   string
	client func(t *testing.T, c *tls.Conn)
	// off is how much earlier or later than with net/http things may happen.
	off time.Duration
}

const whole = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"

// sized is a request of so many bytes.
func sized(path string, size int) string {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: ", path)
	body := size - len(head) - len("0000\r\n\r\n")
	for {
		if r := fmt.Sprintf("%s%d\r\n\r\n%s", head, body, strings.Repeat("x", body)); len(r) <= size {
			return r
		}
		body--
	}
}

func say(t *testing.T, c *tls.Conn, text string) {
	if _, err := io.WriteString(c, text); err != nil {
		t.Errorf("saying %.20q: %v", text, err)
	}
}

// exchange sends a whole request and reads the answer to it.
func exchange(t *testing.T, c *tls.Conn) {
	t.Helper()
	say(t, c, whole)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
}

// asks sends the head of a request, and reads an answer that comes at once.
func asks(t *testing.T, c *tls.Conn, path string, length int) {
	t.Helper()
	start := time.Now()
	say(t, c, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, length))
	line := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(c, line); err != nil || string(line) != "HTTP/1.1 200" || time.Since(start) != 0 {
		t.Errorf("got %q after %v: %v", line, time.Since(start), err)
	}
}

// rest returns what comes until the connection ends.
func rest(c *tls.Conn) string {
	data, _ := io.ReadAll(c)
	return string(data)
}

const watchEvery = 250 * time.Millisecond

// Everything happens when, and as, it does over a tls.Conn.
func TestAsNetHTTP(t *testing.T) {
	ca := pkitest.NewCA(t, "root")
	server := ca.Issue(t, pkitest.Leaf{DNS: []string{"x"}}).TLS
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			config := &tls.Config{Certificates: []tls.Certificate{server}, SessionTicketsDisabled: true} // nobody would read them
			now := time.Now()
			var want, got []event
			synctest.Test(t, func(t *testing.T) { want = s.run(t, ca.Pool(), now, config, false) })
			synctest.Test(t, func(t *testing.T) { got = s.run(t, ca.Pool(), now, config, true) })
			if len(got) != len(want) {
				t.Fatalf("got %v\nwant %v", got, want)
			}
			for i, w := range want {
				if late := got[i].at - w.at; got[i].what != w.what || late.Abs() > s.off {
					t.Errorf("got %v\nwant %v", got[i], w)
				}
			}
		})
	}
}

type event struct {
	what string
	at   time.Duration
}

// run lets the client meet a server, and returns what happened.
func (s scenario) run(t *testing.T, roots *x509.CertPool, now time.Time, config *tls.Config, ours bool) (events []event) {
	var mu sync.Mutex
	start := time.Now()
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, event{fmt.Sprintf(format, args...), time.Since(start)})
	}
	client, inner := connect(t, roots, now, config)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(20 * time.Second))
		note("%s begins", r.URL.Path)
		switch r.URL.Path {
		case "/closing":
			w.Header().Set("Connection", "close")
			_ = http.NewResponseController(w).Flush()
		case "/closed":
			w.Header().Set("Connection", "close")
			return
		case "/hurried", "/patient", "/unhurried": // while it is being read
			time.AfterFunc(time.Second, func() {
				at := map[string]time.Time{"/hurried": time.Now().Add(time.Second), "/patient": time.Now().Add(20 * time.Second)}[r.URL.Path]
				_ = http.NewResponseController(w).SetReadDeadline(at)
				note("%s has a deadline", r.URL.Path)
			})
		}
		body, err := io.ReadAll(r.Body)
		note("%s has %d bytes: %v", r.URL.Path, len(body), err)
		switch r.URL.Path {
		case "/slow":
			select {
			case <-time.After(15 * time.Second):
			case <-r.Context().Done():
			}
		case "/stream":
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Minute)
			_, err = io.WriteString(w, "late")
		case "/large":
			_, err = w.Write(bytes.Repeat([]byte("x"), 1<<20))
		}
		note("%s ends: %v, %v", r.URL.Path, r.Context().Err(), err != nil)
	})
	l := &one{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	if ours {
		plain := &http1.Server{Handler: handler, HeadTimeout: 5 * time.Second, BodyTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHead: 1 << 20}
		c := plain.New(t.Context(), inner)
		go func() {
			if c.Serve() {
				l.conn <- c
			} else {
				note("closed")
			}
		}()
		go func() {
			for tick := time.NewTicker(watchEvery); ; {
				select {
				case <-tick.C:
					c.Watch()
				case <-l.closed:
					return
				}
			}
		}()
	} else {
		l.conn <- inner
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute, Handler: handler,
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				note("closed")
			}
		}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	_ = client.SetDeadline(start.Add(time.Hour)) // nobody waits for ever for a test that fails
	s.client(t, client)
	note("client done")
	_ = client.Close()
	time.Sleep(2 * time.Minute)
	_ = srv.Close()
	<-done
	mu.Lock()
	defer mu.Unlock()
	slices.SortStableFunc(events, func(a, b event) int { return strings.Compare(a.what, b.what) })
	return events
}
