package doctor_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/server/doctor"
	"github.com/sangate/sangate/server/servertest"
)

// trust has the client trust another root.
func (w *world) trust(o *doctor.Options, ca *pkitest.CA) (mend func()) {
	good := o.CA
	w.write("other.crt", ca.PEM())
	o.CA = []string{filepath.Join(w.dir, "other.crt")}
	return func() { o.CA = good }
}

func (w *world) listen() net.Listener {
	w.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = l.Close() })
	return l
}

// closed returns an address where nobody listens.
func (w *world) closed() string {
	w.Helper()
	l := w.listen()
	_ = l.Close()
	return l.Addr().String()
}

// talks returns an address where everybody is told something, and then no more.
func (w *world) talks(says string) string {
	w.Helper()
	l := w.listen()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(says))
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// full listens on an address, and returns it, whose queue of connections is full, so that the kernel
// drops what comes, as a firewall does.
func (w *world) full(at string) string {
	w.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = syscall.Close(fd) })
	want := netip.MustParseAddrPort(at)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: want.Addr().As4(), Port: int(want.Port())}), syscall.Listen(fd, 0)); err != nil {
		w.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		w.Fatal(err)
	}
	addr := netip.AddrPortFrom(want.Addr(), uint16(name.(*syscall.SockaddrInet4).Port)).String()
	for range 8 {
		conn, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if err != nil {
			return addr
		}
		w.Cleanup(func() { _ = conn.Close() })
	}
	w.Fatal("the queue does not fill")
	return ""
}

// web returns the URL of a server that is no gate, with a certificate of the gate's
// CA, and treats clients' so.
func (w *world) web(auth tls.ClientAuthType, l pkitest.Leaf, h http.HandlerFunc) string {
	w.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{w.CA.Issue(w, l).TLS}, ClientAuth: auth}
	s.StartTLS()
	w.Cleanup(s.Close)
	return s.URL
}

// A gate whose clock is ahead takes good certificates for old ones; an alert is all
// that it says.
func TestClockOfTheGate(t *testing.T) {
	g := servertest.Start(t, servertest.Options{Now: func() time.Time { return time.Now().Add(2 * time.Hour) }})
	w := &world{T: t, Gate: g, dir: t.TempDir()}
	r := w.examine(w.client())
	if r.Finding != doctor.Clock {
		t.Errorf("found %q\n%s", r.Finding, told(r))
	}
}

// A refusal is told exactly by one handshake, after a good one from the same address
// too.
func TestRefusalAfterGoodHandshake(t *testing.T) {
	w := newWorld(t)
	if r := w.examine(w.client()); !r.Good {
		t.Fatal(told(r))
	}
	o := w.client()
	w.show(o, pkitest.NewCA(t, "Test CA").Issue(t, agent))
	if r := w.examine(o); r.Finding != "untrusted" {
		t.Errorf("found %q\n%s", r.Finding, told(r))
	}
	if got := w.Metric("sangate_tls_handshakes_total", "result", "untrusted"); got != 1 {
		t.Errorf("%v handshakes refused, want 1", got)
	}
}

// trusted are the roots that a client has.
func trusted(w *world, o *doctor.Options) *x509.CertPool {
	w.Helper()
	pool := x509.NewCertPool()
	for _, file := range o.CA {
		data, err := os.ReadFile(file)
		if err != nil {
			w.Fatal(err)
		}
		pool.AppendCertsFromPEM(data)
	}
	return pool
}
