package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/http1"
)

// Certificates that all tests have; their dates are before synctest's.
var pool, cert, issued = func() (*x509.CertPool, tls.Certificate, time.Time) {
	ca := pkitest.NewCA(&testing.T{}, "root")
	return ca.Pool(), ca.Issue(&testing.T{}, pkitest.Leaf{DNS: []string{"x"}}).TLS, time.Now()
}()

func write(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

// What handlers do has the effect that it has with net/http, whatever they leave of
// the body.
func TestAnswers(t *testing.T) {
	for name, handler := range answers {
		for _, length := range []int{0, 2, 7, 5000, 200_000, 256 << 10, 600_000} {
			if length == 256<<10 && name == "the body, closed" {
				continue // net/http closes the connection without a word
			}
			t.Run(fmt.Sprintf("%s, to a body of %d bytes", name, length), func(t *testing.T) {
				connection := "keep-alive"
				if length == 7 {
					connection = "close"
				}
				request := fmt.Sprintf("POST /a HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nConnection: %s\r\nContent-Length: %d\r\n\r\n%s", connection, length, strings.Repeat("x", length))
				var want, got string
				synctest.Test(t, func(t *testing.T) { want = answered(t, netHTTP, handler, request) })
				synctest.Test(t, func(t *testing.T) { got = answered(t, plain, handler, request) })
				if got != want {
					t.Errorf("got  %.600s\nwant %.600s", got, want)
				}
			})
		}
	}
}

// Servers of one connection. They end with it.
func netHTTP(t *testing.T, c *tls.Conn, handler http.Handler, log *log.Logger, closed func()) {
	l := &one{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- c
	srv := &http.Server{Handler: handler, ErrorLog: log, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed()
		}
	}}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
}

func plain(t *testing.T, c *tls.Conn, handler http.Handler, log *log.Logger, closed func()) {
	go func() {
		s := &http1.Server{Handler: handler, HeadTimeout: time.Minute, BodyTimeout: time.Minute, IdleTimeout: time.Minute, MaxHead: 1 << 20, Log: log}
		if s.New(t.Context(), c).Serve() {
			t.Error("not taken for plain")
		}
		closed()
	}()
}

// answered sends a request, and returns the answer, when it was there, and whether
// another is taken.
func answered(t *testing.T, serve func(*testing.T, *tls.Conn, http.Handler, *log.Logger, func()), handler http.HandlerFunc, request string) (result string) {
	client, server := connect(t, pool, issued, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
	start, sent := time.Now(), make(chan struct{})
	var logged bytes.Buffer
	var end time.Duration
	serve(t, server, handler, log.New(&logged, "", 0), func() { end = time.Since(start) })
	go func() {
		defer close(sent)
		_, _ = io.WriteString(client, request)
	}()
	defer func() {
		_ = client.Close()
		<-sent
		time.Sleep(time.Second) // which a server may take for its farewell
		synctest.Wait()
		line, _, _ := strings.Cut(logged.String(), "\n")
		result += fmt.Sprint("; panics logged: ", strings.HasPrefix(line, "http: panic"), "; ended after ", end)
	}()
	reader := bufio.NewReader(client)
	res, err := http.ReadResponse(reader, nil)
	if err != nil {
		return fmt.Sprint("no answer: ", err, time.Since(start))
	}
	body, err := io.ReadAll(res.Body)
	after := fmt.Sprint(err != nil, time.Since(start))
	if res.Close {
		_, _ = io.Copy(io.Discard, reader)
		after += fmt.Sprint(", closed after ", time.Since(start))
	} else {
		<-sent
		time.Sleep(time.Second)
		_, err = io.WriteString(client, whole)
		if err == nil {
			var then *http.Response
			if then, err = http.ReadResponse(reader, nil); err == nil {
				after += then.Header.Get("Date")
				_, _ = io.Copy(io.Discard, then.Body)
			}
		}
		after += fmt.Sprint(", then ", err == nil)
	}
	return fmt.Sprint(res.Status, res.Header, res.ContentLength, res.TransferEncoding, res.Close, len(body), string(body[:min(len(body), 300)]), after)
}

// An answer that is over takes nothing more, and its body gives nothing more.
func TestOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, pool, issued, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
		var w http.ResponseWriter
		var r *http.Request
		var done <-chan struct{}
		var last context.Context
		plain(t, server, http.HandlerFunc(func(w2 http.ResponseWriter, r2 *http.Request) {
			if last = r2.Context(); w == nil {
				w, r, done = w2, r2, last.Done()
			}
		}), nil, func() {})
		exchange(t, client)
		<-done // who waits is let go
		n, err := w.Write([]byte("a"))
		flushed := http.NewResponseController(w).Flush()
		w.WriteHeader(500)
		_, read := r.Body.Read(make([]byte, 1))
		if n != 0 || err == nil || flushed == nil || !errors.Is(read, http.ErrBodyReadAfterClose) {
			t.Errorf("wrote %d, %v; flushed %v; read %v", n, err, flushed, read)
		}
		exchange(t, client) // nothing of it came
		synctest.Wait()     // the request ends after its answer is sent
		if err := last.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("nobody waited for the context, and it ended with %v", err)
		}
		_ = client.Close()
	})
}

// How an answer is framed, the handler does not say, but for its length.
func TestFraming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, pool, issued, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
		plain(t, server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for name, value := range map[string]string{"Transfer-Encoding": "gzip", "Trailer": "A", "Connection": "upgrade", "Content-Length": "+1"} {
				w.Header().Set(name, value)
			}
			write(w, "ab")
		}), nil, func() {})
		say(t, client, strings.Replace(whole, "Host", "Connection: close\r\nHost", 1))
		want := "HTTP/1.1 200 OK\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nab"
		if got := rest(client); got != want {
			t.Errorf("got %q", got)
		}
	})
}

// A head that is longer than it may be is for net/http to refuse.
func TestLongHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, pool, issued, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
		s := &http1.Server{HeadTimeout: time.Minute, IdleTimeout: time.Minute, MaxHead: len(whole) - 1}
		c := s.New(t.Context(), server)
		go func() { _, _ = io.WriteString(client, strings.Replace(whole, "Host", "A: b\r\nHost", 1)) }()
		got := make([]byte, len(whole))
		if more := c.Serve(); !more {
			t.Error("not handed on")
		}
		if _, err := io.ReadFull(c, got); err != nil || !strings.HasPrefix(string(got), "POST / HTTP/1.1\r\nA: b\r\n") {
			t.Errorf("got %q, %v", got, err)
		}
		_ = client.Close()
		_ = c.Close()
	})
}
