package stepca

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/acme"

	"github.com/sangate/sangate/pki/pkitest"
)

// panicking is a key that cannot sign.
type panicking struct{ crypto.Signer }

func (panicking) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { panic("broken") }

// TestPanicInChallengeContained holds that a panic while a tls-alpn-01 handshake is
// answered ends that connection only: the next one is answered.
//
// Holds: authority/panic-contained
func TestPanicInChallengeContained(t *testing.T) {
	good := pkitest.NewCA(t, "acme").Issue(t, pkitest.Leaf{DNS: []string{"good.example"}}).TLS
	broken := good
	broken.PrivateKey = panicking{good.PrivateKey.(crypto.Signer)}
	ans := &answers{alpn: true, names: map[string]*tls.Certificate{"good.example": &good, "broken.example": &broken}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	var serving sync.WaitGroup
	serving.Go(func() { ans.handshakes(ln, slog.New(slog.NewTextHandler(&log, nil))) })
	for _, tt := range []struct {
		name     string
		answered bool
	}{{"broken.example", false}, {"good.example", true}} {
		conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{ServerName: tt.name, InsecureSkipVerify: true, NextProtos: []string{acme.ALPNProto}})
		if (err == nil) != tt.answered {
			t.Errorf("%s: %v, want it answered: %t", tt.name, err, tt.answered)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
	_ = ln.Close()
	serving.Wait()
	if !strings.Contains(log.String(), "answer tls-alpn-01") || !strings.Contains(log.String(), "broken") {
		t.Errorf("the log does not tell of the panic: %s", log.String())
	}
}
