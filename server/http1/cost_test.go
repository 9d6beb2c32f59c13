package http1_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/http1"
)

// A hundred requests within a second have two deadlines set, and nothing read but
// themselves.
func TestLittleIsAsked(t *testing.T) {
	ca := pkitest.NewCA(t, "root")
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, pkitest.Leaf{DNS: []string{"x"}}).TLS}, SessionTicketsDisabled: true}
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		client, inner := connect(t, ca.Pool(), now, config)
		below := inner.NetConn().(*counted)
		plain := &http1.Server{HeadTimeout: 5 * time.Second, BodyTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHead: 1 << 20,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(20 * time.Second))
				_, _ = io.Copy(w, r.Body)
			})}
		go plain.New(t.Context(), inner).Serve()
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
		_ = client.Close()
	})
}

// A large piece of an answer is sent from where it is.
func TestLargeIsNotCopied(t *testing.T) {
	piece := bytes.Repeat([]byte("a"), 8<<20)
	for name, length := range map[string]string{"measured": "", "declared": strconv.Itoa(len(piece) + 2)} {
		t.Run(name, func(t *testing.T) {
			client, server := connect(t, pool, issued, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
			plain(t, server, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", length)
				write(w, "b")
				_, _ = w.Write(piece)
				write(w, "c")
			}), nil, func() {})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			say(t, client, whole)
			res, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, res.Body); n != int64(len(piece))+2 || err != nil {
				t.Errorf("got %d bytes: %v", n, err)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > uint64(len(piece)/2) {
				t.Errorf("%d bytes are allocated for it", n)
			}
			_ = client.Close()
		})
	}
}
