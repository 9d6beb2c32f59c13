package http1_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	// late is how much later than over a tls.Conn things may happen.
	late time.Duration
}

const whole = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"

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

// rest returns what comes until the connection ends.
func rest(c *tls.Conn) string {
	data, _ := io.ReadAll(c)
	return string(data)
}

var scenarios = []scenario{
	{name: "idles", client: func(t *testing.T, c *tls.Conn) {
		for range 3 {
			exchange(t, c)
			time.Sleep(time.Second)
		}
		rest(c)
	}},
	{name: "idles nearly too long", client: func(t *testing.T, c *tls.Conn) {
		for range 5 {
			exchange(t, c)
			time.Sleep(59 * time.Second)
		}
		rest(c)
	}},
	{name: "stops in the header", client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		time.Sleep(30 * time.Second)
		exchange(t, c)
		say(t, c, whole[:30])
		rest(c)
	}},
	{name: "stops in the first header", client: func(t *testing.T, c *tls.Conn) {
		say(t, c, whole[:30])
		rest(c)
	}},
	{name: "stops in the body", client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		time.Sleep(8 * time.Second)
		say(t, c, whole[:len(whole)-1])
		rest(c)
	}},
	{name: "sends slowly", client: func(t *testing.T, c *tls.Conn) {
		for _, b := range whole {
			say(t, c, string(b))
			time.Sleep(50 * time.Millisecond)
		}
		rest(c)
	}},
	{name: "takes its time", client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		say(t, c, strings.Replace(whole, "/", "/slow", 1))
		rest(c)
	}},
	{name: "has more requests on the way", client: func(t *testing.T, c *tls.Conn) {
		say(t, c, strings.Replace(whole, "/", "/slow", 1)+whole+strings.Replace(whole, "/", "/slow", 1)+whole)
		if n := strings.Count(rest(c), "HTTP/1.1 200"); n != 4 {
			t.Errorf("%d answers", n)
		}
	}},
	{name: "sends another while it waits", client: func(t *testing.T, c *tls.Conn) {
		say(t, c, strings.Replace(whole, "/", "/slow", 1))
		time.Sleep(5 * time.Second)
		say(t, c, whole)
		if n := strings.Count(rest(c), "HTTP/1.1 200"); n != 2 {
			t.Errorf("%d answers", n)
		}
	}},
	{name: "goes", late: watchEvery, client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		say(t, c, strings.Replace(whole, "/", "/slow", 1))
		time.Sleep(3 * time.Second)
		_ = c.Close()
	}},
	{name: "goes at once", late: watchEvery, client: func(t *testing.T, c *tls.Conn) {
		say(t, c, strings.Replace(whole, "/", "/slow", 1))
		_ = c.NetConn().Close()
	}},
	{name: "does not read", late: 2 * time.Second, client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		time.Sleep(500 * time.Millisecond)
		say(t, c, strings.Replace(whole, "/", "/large", 1))
		time.Sleep(time.Minute)
	}},
	{name: "asks for nonsense", client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		time.Sleep(50 * time.Second) // past what the last answer might have taken
		say(t, c, "no HTTP at all\r\n\r\n")
		if got := rest(c); !strings.HasPrefix(got, "HTTP/1.1 400") {
			t.Errorf("got %.40q", got)
		}
	}},
	{name: "sends no body", client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		say(t, c, strings.Replace(strings.Replace(whole, "{}", "", 1), "Content-Length: 2", "Content-Length: 0", 1))
		rest(c)
	}},
	{name: "is asked for its body", client: func(t *testing.T, c *tls.Conn) {
		say(t, c, strings.Replace(strings.TrimSuffix(whole, "{}"), "Host", "Expect: 100-continue\r\nHost", 1))
		line := make([]byte, 12)
		if _, err := io.ReadFull(c, line); err != nil || string(line) != "HTTP/1.1 100" {
			t.Errorf("got %q, %v", line, err)
		}
		time.Sleep(time.Second)
		say(t, c, "{}")
		if got := rest(c); !strings.Contains(got, "HTTP/1.1 200") {
			t.Errorf("got %.60q", got)
		}
	}},
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
				if late := got[i].at - w.at; got[i].what != w.what || late < 0 || late > s.late {
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
	var conn net.Conn = inner
	closed := make(chan struct{})
	if ours {
		c := http1.New(inner)
		conn = c
		go func() {
			for tick := time.NewTicker(watchEvery); ; {
				select {
				case <-tick.C:
					c.Watch()
				case <-closed:
					return
				}
			}
		}()
	}
	l := &one{conn: make(chan net.Conn, 1), closed: closed}
	l.conn <- conn
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				note("closed")
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(20 * time.Second))
			note("%s begins", r.URL.Path)
			body, err := io.ReadAll(r.Body)
			note("%s has %d bytes: %v", r.URL.Path, len(body), err)
			switch r.URL.Path {
			case "/slow":
				select {
				case <-time.After(15 * time.Second):
				case <-r.Context().Done():
				}
			case "/large":
				_, err = w.Write(bytes.Repeat([]byte("x"), 1<<20))
			}
			note("%s ends: %v, %v", r.URL.Path, r.Context().Err(), err != nil)
		})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
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

// connect returns both ends of a connection; the server's counts what is asked of
// what is below.
func connect(t *testing.T, roots *x509.CertPool, now time.Time, config *tls.Config) (client, server *tls.Conn) {
	t.Helper()
	near, far := net.Pipe()
	client = tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "x", Time: func() time.Time { return now }})
	server = tls.Server(&counted{Conn: far}, config)
	go func() { _ = client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// A counted connection counts what is asked of it.
type counted struct {
	net.Conn
	reads, deadlines atomic.Int32
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.Conn.Read(p)
}

func (c *counted) SetReadDeadline(t time.Time) error {
	c.deadlines.Add(1)
	return c.Conn.SetReadDeadline(t)
}

func (c *counted) SetWriteDeadline(t time.Time) error {
	c.deadlines.Add(1)
	return c.Conn.SetWriteDeadline(t)
}

// A hundred requests within a second have two deadlines set, and nothing read but
// themselves.
func TestLittleIsAsked(t *testing.T) {
	ca := pkitest.NewCA(t, "root")
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, pkitest.Leaf{DNS: []string{"x"}}).TLS}, SessionTicketsDisabled: true}
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		client, inner := connect(t, ca.Pool(), now, config)
		below := inner.NetConn().(*counted)
		l := &one{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.conn <- http1.New(inner)
		srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(20 * time.Second))
				_, _ = io.Copy(w, r.Body)
			})}
		go func() { _ = srv.Serve(l) }()
		exchange(t, client)
		synctest.Wait()
		reads, deadlines := below.reads.Load(), below.deadlines.Load()
		for range 100 {
			time.Sleep(time.Millisecond)
			exchange(t, client)
		}
		synctest.Wait()
		// A request is a record: net.Pipe hands over what is written at once.
		if n := below.reads.Load() - reads; n > 100 {
			t.Errorf("%d reads", n)
		}
		if n := below.deadlines.Load() - deadlines; n > 2 {
			t.Errorf("%d deadlines", n)
		}
		_ = srv.Close()
		_ = client.Close()
	})
}

// Nothing waits on a connection that is closed.
func TestClosed(t *testing.T) {
	ca := pkitest.NewCA(t, "root")
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, pkitest.Leaf{DNS: []string{"x"}}).TLS}, SessionTicketsDisabled: true}
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		client, inner := connect(t, ca.Pool(), now, config)
		go rest(client)
		c := http1.New(inner)
		looks := make(chan error)
		look := func() {
			_, err := c.Read(make([]byte, 1))
			looks <- err
		}
		go look()
		synctest.Wait()
		_ = c.Close()
		first := <-looks
		go look()
		if second := <-looks; !errors.Is(first, io.ErrClosedPipe) || !errors.Is(second, io.ErrClosedPipe) {
			t.Errorf("a look that waited: %v; one that came later: %v", first, second)
		}
		_ = client.Close()
	})
}

// one is a listener of one connection.
type one struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, errors.New("closed")
	}
}

func (l *one) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *one) Addr() net.Addr { return &net.TCPAddr{} }
