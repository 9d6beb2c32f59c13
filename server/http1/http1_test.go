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
	{name: "goes", off: watchEvery, client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		say(t, c, strings.Replace(whole, "/", "/slow", 1))
		time.Sleep(3 * time.Second)
		_ = c.Close()
	}},
	{name: "goes at once", off: watchEvery, client: func(t *testing.T, c *tls.Conn) {
		say(t, c, strings.Replace(whole, "/", "/slow", 1))
		_ = c.NetConn().Close()
	}},
	{name: "goes, after what fills the room", off: watchEvery, client: func(t *testing.T, c *tls.Conn) {
		say(t, c, sized("/", 200_000)) // for TLS to send large records
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Error(err)
		}
		say(t, c, sized("/slow", 4096))
		time.Sleep(3 * time.Second)
		_ = c.Close()
	}},
	{name: "goes in the body", client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		say(t, c, whole[:len(whole)-1])
		time.Sleep(time.Second)
		_ = c.Close()
	}},
	{name: "listens for long", client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		say(t, c, strings.Replace(whole, "/", "/stream", 1))
		if got := rest(c); !strings.Contains(got, "late") {
			t.Errorf("got %q", got)
		}
	}},
	{name: "does not read", off: 5 * time.Second, client: func(t *testing.T, c *tls.Conn) {
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
	{name: "has its answer before it sends the body", client: func(t *testing.T, c *tls.Conn) {
		asks(t, c, "/closing", 2)
		time.Sleep(2 * time.Second)
		say(t, c, "{}")
		rest(c)
	}},
	{name: "has its answer and sends no body", client: func(t *testing.T, c *tls.Conn) {
		asks(t, c, "/closing", 2)
		rest(c)
	}},
	{name: "has the last answer before it sends the body", client: func(t *testing.T, c *tls.Conn) {
		asks(t, c, "/closed", 2)
		time.Sleep(2 * time.Second)
		say(t, c, "{}")
		rest(c)
	}},
	{name: "has the last answer and sends no body", client: func(t *testing.T, c *tls.Conn) {
		asks(t, c, "/closed", 2)
		rest(c)
	}},
	{name: "has the last answer before it sends much", client: func(t *testing.T, c *tls.Conn) {
		asks(t, c, "/closed", 1<<20)
		rest(c)
	}},
	{name: "is hurried", client: func(t *testing.T, c *tls.Conn) {
		say(t, c, strings.Replace(whole[:len(whole)-1], "/", "/hurried", 1))
		rest(c)
	}},
	{name: "is given time", client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		say(t, c, strings.Replace(whole[:len(whole)-1], "/", "/patient", 1))
		time.Sleep(15 * time.Second)
		say(t, c, whole[len(whole)-1:])
		rest(c)
	}},
	{name: "is given all time", client: func(t *testing.T, c *tls.Conn) {
		exchange(t, c)
		say(t, c, strings.Replace(whole[:len(whole)-1], "/", "/unhurried", 1))
		time.Sleep(18 * time.Second)
		say(t, c, whole[len(whole)-1:])
		rest(c)
	}},
	{name: "sends line breaks behind its body", client: func(t *testing.T, c *tls.Conn) {
		for _, breaks := range []string{"\r\n", "\n", "\n\r\n"} {
			say(t, c, whole+breaks)
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		}
		say(t, c, whole+"\r\n"+whole+"\r\n"+whole) // in one record
		if n := strings.Count(rest(c), "HTTP/1.1 200"); n != 3 {
			t.Errorf("%d answers", n)
		}
	}},
	{name: "sends too many line breaks", client: func(t *testing.T, c *tls.Conn) {
		say(t, c, whole+"\r\n\r\n"+whole+"\r\n\r\n\r\n"+whole)
		if got := rest(c); strings.Count(got, "HTTP/1.1 200") != 2 || !strings.Contains(got, "HTTP/1.1 400") {
			t.Errorf("got %q", got)
		}
	}},
	{name: "sends a line break first", client: func(t *testing.T, c *tls.Conn) {
		say(t, c, "\r\n"+whole)
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
