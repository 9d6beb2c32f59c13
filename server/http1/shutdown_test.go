package http1_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/http1"
)

// Connections between requests are closed at once, others with their answer.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &http1.Server{HeadTimeout: time.Minute, BodyTimeout: time.Minute, IdleTimeout: time.Minute, MaxHead: 1 << 20,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/halfway" {
					_ = http.NewResponseController(w).Flush()
				}
				time.Sleep(10 * time.Second)
			})}
		config := &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true}
		serve := func() *tls.Conn {
			client, server := connect(t, pool, issued, config)
			go s.New(t.Context(), server).Serve()
			return client
		}
		fresh, idle, busy, halfway := serve(), serve(), serve(), serve()
		exchange(t, idle)
		say(t, busy, whole)
		say(t, halfway, strings.Replace(whole, "/", "/halfway", 1))
		synctest.Wait()
		start := time.Now()
		ended := make(chan error)
		halved := make(chan string, 1)
		go func() { halved <- rest(halfway) }()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { ended <- s.Shutdown(short) }()
		if got := rest(fresh) + rest(idle); got != "" || time.Since(start) != 0 {
			t.Errorf("got %q after %v", got, time.Since(start))
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a shutdown within a second: %v", err)
		}
		go func() { ended <- s.Shutdown(t.Context()) }()
		if got := rest(busy); !strings.Contains(got, "200 OK") || !strings.Contains(got, "Connection: close") {
			t.Errorf("got %q", got)
		}
		if got := <-halved; !strings.HasSuffix(got, "0\r\n\r\n") {
			t.Errorf("of a connection that is to be kept: %q", got)
		}
		if err := <-ended; err != nil || time.Since(start) != 10*time.Second {
			t.Errorf("shut down after %v: %v", time.Since(start), err)
		}
		if got := rest(serve()); got != "" {
			t.Errorf("a connection that is new: %q", got)
		}
		for _, c := range []*tls.Conn{fresh, idle, busy, halfway} {
			_ = c.Close()
		}
	})
}

// A request whose head is there as the shutdown begins is answered, with a body that is
// still to come.
func TestShutdownAtAHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got string
		s := &http1.Server{HeadTimeout: time.Minute, BodyTimeout: time.Minute, IdleTimeout: time.Minute, MaxHead: 1 << 20,
			Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				got = fmt.Sprint(len(body), err)
			})}
		client, server := connect(t, pool, issued, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
		ended := make(chan error, 1)
		var once sync.Once
		server.NetConn().(*counted).came = func() {
			once.Do(func() {
				go func() { ended <- s.Shutdown(t.Context()) }()
				synctest.Wait()
			})
		}
		go s.New(t.Context(), server).Serve()
		head, body, _ := strings.Cut(sized("/", 5000), "\r\n\r\n")
		say(t, client, head+"\r\n\r\n")
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			time.Sleep(time.Second)
			_, _ = io.WriteString(client, body)
		}()
		if answer := rest(client); !strings.HasPrefix(answer, "HTTP/1.1 200") || got != fmt.Sprint(len(body), nil) {
			t.Errorf("got %.15q; the handler %s", answer, got)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = client.Close()
		<-sent
	})
}
