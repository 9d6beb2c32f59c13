package egress

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of pipes.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.ended) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// honest serves answers of several kinds.
func honest() http.Handler {
	mux, block := http.NewServeMux(), []byte(strings.Repeat("x", 32<<10))
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		for range 4 << 20 / len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/small", func(w http.ResponseWriter, r *http.Request) {
		for i := range 20 { // a head that does not compress
			w.Header().Set(fmt.Sprint("X-", i), strings.Repeat(string(rune('a'+i)), 100)+time.Now().String()+r.URL.RawQuery)
		}
		_, _ = io.WriteString(w, "{}")
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	mux.HandleFunc("/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		event := "event: message\ndata: " + strings.Repeat("x", 120) + "\n\n"
		for range 20_000 {
			if _, err := io.WriteString(w, event); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	})
	return mux
}

// An honest server is never slowed down. In a synctest bubble, time passes only while all
// wait: for a paced Read, as nothing else here does.
//
// Holds: upstream/http2-frames
func TestHonestServerIsNotPaced(t *testing.T) {
	read := func(get func(string) io.ReadCloser, path string, n int64) {
		body := get(path)
		_, _ = io.CopyN(io.Discard, body, n)
		_ = body.Close()
	}
	const all = 1 << 30
	type getter = func(path string) io.ReadCloser
	for name, use := range map[string]func(get getter){
		"large answers": func(get getter) {
			for range 4 {
				read(get, "/large", all)
			}
		},
		"many streams": func(get getter) {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { read(get, "/large", all) })
			}
			wg.Wait()
		},
		"small answers": func(get getter) {
			for i := range 2_000 {
				read(get, fmt.Sprint("/small?", i), all)
			}
		},
		"answers without body": func(get getter) {
			for range 2_000 {
				_ = get("/empty").Close()
			}
		},
		"event streams": func(get getter) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { read(get, "/events", all) })
			}
			wg.Wait()
		},
		"answers that are cut": func(get getter) {
			for i := range 40 {
				read(get, "/large", int64(i)<<12)
				read(get, "/small", all)
			}
		},
		"answers that wait": func(get getter) {
			var waiting []io.ReadCloser
			for range 10 {
				waiting = append(waiting, get("/large"))
			}
			synctest.Wait() // the windows are full
			for range 200 {
				read(get, "/small", all)
			}
			for _, body := range waiting {
				_, _ = io.Copy(io.Discard, body)
				_ = body.Close()
			}
		},
	} {
		for _, protocol := range []string{"h2", "http/1.1"} {
			t.Run(name+"/"+protocol, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ln := &pipes{conns: make(chan net.Conn), ended: make(chan struct{})}
					server := &http.Server{Handler: honest()}
					var once sync.Once
					client, _ := piped(t, Target{HTTP2: true}, func(raw net.Conn, config *tls.Config) {
						once.Do(func() {
							server.TLSConfig = config.Clone()
							server.TLSConfig.NextProtos = []string{protocol}
							if protocol != "h2" {
								server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
							}
							go func() { _ = server.ServeTLS(ln, "", "") }() // until it is closed
						})
						ln.conns <- raw
					})
					defer server.Close()
					defer client.CloseIdleConnections()
					begun := time.Now()
					use(func(path string) io.ReadCloser {
						res, err := client.Get("https://server.test" + path)
						if err == nil && (res.ProtoMajor == 2) != (protocol == "h2") {
							err = errors.New("answered over " + res.Proto)
						}
						if err != nil {
							t.Error(err)
							return http.NoBody
						}
						return res.Body
					})
					if waited := time.Since(begun); waited > 0 {
						t.Errorf("waited for %v", waited)
					}
				})
			})
		}
	}
}
