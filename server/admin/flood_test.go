package admin_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/admission"
)

// Connections of a local user that are silent, or stop inside a head or a TLS
// handshake, do not keep a health probe from its answer.
//
// Holds: local/admin-flood
func TestAdminFloodLeavesProbes(t *testing.T) {
	cert := pkitest.NewCA(t, "ca").Issue(t, pkitest.Leaf{DNS: []string{"localhost"}})
	pair := cert.TLS
	for name, door := range map[string]*admin.Door{"plain": nil, "TLS": {MinVersion: tls.VersionTLS13,
		Certificate: func() (*tls.Certificate, error) { return &pair, nil }}} {
		t.Run(name, func(t *testing.T) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := admin.NewListener(inner, time.Now, admin.Bounds{})
			l.Use(door)
			dropped := make(chan admission.Reason, 1000)
			l.OnDrop = func(r admission.Reason) { dropped <- r }
			srv := &http.Server{ConnContext: admin.ConnContext, ReadHeaderTimeout: time.Minute,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
			go func() { _ = srv.Serve(l) }() // until Close
			defer srv.Close()
			for i := range 600 {
				c, err := net.Dial("tcp", inner.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if i%2 == 0 {
					_, _ = c.Write([]byte("G")) // it may be dropped already
				}
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 30 * time.Second}
			url := "http://"
			if door != nil {
				url = "https://"
			}
			res, err := client.Get(url + inner.Addr().String() + "/healthz")
			if err != nil {
				t.Fatalf("probe beside 600 connections: %v", err)
			}
			_ = res.Body.Close()
			client.CloseIdleConnections()
			if got := len(dropped); got < 600-256 {
				t.Errorf("%d dropped, want at least %d", got, 600-256)
			}
		})
	}
}
