package http1_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
)

// A client that closes behind its body has sent all of it. TLS 1.2 tells of both at once.
func TestClosedBehindTheBody(t *testing.T) {
	for name, serve := range map[string]func(*testing.T, *tls.Conn, http.Handler, *log.Logger, func()){"net/http": netHTTP, "plain": plain} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			sent := make(chan error, 1)
			go func() {
				client, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "x", MaxVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true})
				if err == nil {
					_, _ = io.WriteString(client, sized("/", 5000)) // a record
					err = client.Close()
				}
				sent <- err
			}()
			inner, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			server := tls.Server(inner, &tls.Config{Certificates: []tls.Certificate{cert}})
			if err := server.Handshake(); err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			got, closed := make(chan string, 1), make(chan struct{})
			serve(t, server, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				n, err := io.Copy(io.Discard, r.Body)
				got <- fmt.Sprint(n == r.ContentLength, err)
			}), nil, func() { close(closed) })
			if got := <-got; got != "true <nil>" {
				t.Errorf("the handler has %s", got)
			}
			<-closed
			_ = l.Close()
		})
	}
}
