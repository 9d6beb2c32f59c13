package console_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/console"
	"github.com/sangate/sangate/server/servertest"
)

// Those who follow one view have it made once a second, however many they are.
func TestFollowersShareALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		c := console.New(console.Source{Now: time.Now, Turn: atOnce, Upstreams: func() []console.Upstream { looks.Add(1); return nil }})
		ctx, cancel := context.WithCancel(t.Context())
		var followers sync.WaitGroup
		for i := range 20 {
			followers.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				c.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/live?view=/upstreams", nil))
			})
		}
		time.Sleep(5500 * time.Millisecond)
		cancel()
		followers.Wait()
		if n := looks.Load(); n != 6 {
			t.Errorf("20 followers, five seconds: %d looks", n)
		}
	})
}

// A reader that does not read holds its place for ten seconds, and no longer; one that
// does is told every fifteen that the gate is there.
func TestFollowersThatAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns := make(chan net.Conn)
		s := &http.Server{Handler: console.New(console.Source{Now: time.Now, Turn: atOnce, Upstreams: func() []console.Upstream { return nil }})}
		go func() { _ = s.Serve(&pipes{conns: conns, closed: make(chan struct{})}) }()
		follow := func() net.Conn {
			client, server := net.Pipe()
			conns <- server
			if _, err := client.Write([]byte("GET /live?view=/upstreams HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
				t.Error(err)
			}
			return client
		}
		var clients []net.Conn
		for range 32 {
			clients = append(clients, follow())
		}
		synctest.Wait()
		answers := func(client net.Conn) string {
			line, err := bufio.NewReader(client).ReadString('\n')
			if err != nil {
				t.Error(err)
			}
			return line
		}
		full := follow()
		if got := answers(full); got != "HTTP/1.1 503 Service Unavailable\r\n" {
			t.Errorf("one too many: %q", got)
		}
		time.Sleep(11 * time.Second)
		last := follow()
		heard := make(chan string)
		go func() {
			var text strings.Builder
			_, _ = io.Copy(&text, last) // until it is closed
			heard <- text.String()
		}()
		time.Sleep(20 * time.Second)
		for _, c := range append(clients, full, last) {
			_ = c.Close()
		}
		if text := <-heard; !strings.HasPrefix(text, "HTTP/1.1 200 OK\r\n") || strings.Count(text, "event: alive\ndata: .\n\n") != 1 {
			t.Errorf("%q", text)
		}
		_ = s.Close()
	})
}

// pipes are a net.Listener of connections in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// Who follows a view does not keep the gate from ending.
func TestFollowersAtTheEnd(t *testing.T) {
	g := servertest.Start(t, servertest.Options{Config: func(yaml string) string { return yaml + "limits: {drainTimeout: 5m}\n" }})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.AdminURL+"/live?view=/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	stopped := g.Stop()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Logf("the stream ends with %v", err)
	}
	select {
	case <-stopped:
	case <-time.After(30 * time.Second):
		t.Error("the gate goes on for as long as somebody follows it")
	}
}

// Pages and looks are made when it is their turn, and pages for nobody who has gone.
//
// Holds: local/admin-costly-answers
func TestViewsAreMadeInTurn(t *testing.T) {
	for _, path := range []string{"/upstreams", "/live?view=/upstreams"} {
		made, turns := 0, 0
		turn := func(context.Context, func()) error { turns++; return context.Canceled }
		c := console.New(console.Source{Now: time.Now, Turn: turn, Upstreams: func() []console.Upstream { made++; return nil }})
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if made != 0 || turns != 1 || w.Body.Len() > 0 {
			t.Errorf("%s: made %d times in %d turns, %d bytes", path, made, turns, w.Body.Len())
		}
	}
}

func atOnce(_ context.Context, work func()) error {
	work()
	return nil
}
