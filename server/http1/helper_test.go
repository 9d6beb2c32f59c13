package http1_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// connect returns both ends of a connection; the server's counts what is asked of
// what is below.
func connect(t *testing.T, roots *x509.CertPool, now time.Time, config *tls.Config) (client, server *tls.Conn) {
	t.Helper()
	near, far := net.Pipe()
	client = tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "x", Time: func() time.Time { return now }})
	server = tls.Server(&counted{Conn: far}, config)
	go func() { _ = client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// A counted connection counts what is asked of it.
type counted struct {
	net.Conn
	reads, deadlines atomic.Int32
	writeBy          atomic.Pointer[time.Time]
	came             func() // if not nil, when something has, and before it is handed on
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads.Add(1)
	n, err := c.Conn.Read(p)
	if n > 0 && c.came != nil {
		c.came()
	}
	return n, err
}

func (c *counted) SetReadDeadline(t time.Time) error {
	c.deadlines.Add(1)
	return c.Conn.SetReadDeadline(t)
}

func (c *counted) SetWriteDeadline(t time.Time) error {
	c.deadlines.Add(1)
	c.writeBy.Store(&t)
	return c.Conn.SetWriteDeadline(t)
}

// one is a listener of one connection.
type one struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, errors.New("closed")
	}
}

func (l *one) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *one) Addr() net.Addr { return &net.TCPAddr{} }
