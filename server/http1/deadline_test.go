package http1_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/server/http1"
)

// A deadline for writing that no handler has set does not pass: TLS may have to write
// when it reads, and what fails then is the next answer.
func TestWriteDeadlineIsTakenBack(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if r.URL.Path != "/unbounded" {
			_ = control.SetWriteDeadline(time.Now().Add(20 * time.Second))
		}
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/stream":
			_ = control.Flush()
			_ = control.SetWriteDeadline(time.Time{})
			time.Sleep(time.Minute)
		case "/unbounded":
			time.Sleep(time.Minute)
		}
		write(w, "done")
	})
	for name, then := range map[string]string{"none": "", "one that takes longer": "/unbounded", "a stream": "/stream"} {
		t.Run("before "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := connect(t, pool, issued, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
				below := server.NetConn().(*counted)
				s := &http1.Server{Handler: handler, HeadTimeout: time.Minute, BodyTimeout: time.Minute, IdleTimeout: time.Minute, MaxHead: 1 << 20}
				c := s.New(t.Context(), server)
				go c.Serve()
				exchange(t, client)
				time.Sleep(10 * time.Second)
				exchange(t, client)
				if then != "" {
					say(t, client, strings.Replace(whole, "/", then, 1))
				}
				answer := make(chan string)
				go func() { answer <- rest(client) }()
				for range 59 { // then it is closed
					time.Sleep(time.Second)
					c.Watch()
					if at := below.writeBy.Load(); at != nil && !at.IsZero() && !at.After(time.Now()) {
						t.Errorf("it passed %v ago", time.Since(*at))
						break
					}
				}
				if got := <-answer; then != "" && !strings.Contains(got, "done") {
					t.Errorf("got %q", got)
				}
				_ = client.Close()
			})
		})
	}
}
