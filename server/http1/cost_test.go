package http1_test

import (
	"crypto/tls"
	"io"
	"net/http"
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
