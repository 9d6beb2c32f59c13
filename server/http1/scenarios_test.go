package http1_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// scenarios are what clients do.
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
