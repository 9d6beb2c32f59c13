package admin

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/tlsalert"
	"github.com/sangate/sangate/server/admission"
)

const (
	handshakeRecord = 22                     // RFC 8446, 5.1
	restWait        = 100 * time.Millisecond // for the rest of a plain HTTP request
)

// counted is a connection that makes room when it is closed. With TLS its handshake is
// bounded, as on the main listener; net/http bounds its time.
type counted struct {
	net.Conn
	place *admission.Place
	pace  *rate.Limiter // of the answers
	alert *tlsalert.Sender

	// Of the handshake, whose goroutine alone reads until it is over.
	of     *Listener // nil: the handshake is over, or there is none
	head   []byte    // read already, and not yet by the TLS stack
	budget int       // bytes that may still come; 0: see greeted
	greets bool      // no ClientHello was waited for yet

	deadline atomic.Int64 // as net/http has set it, Unix ns; 0: none
}

// bound returns config for a handshake on c within the bounds of l. They end when the
// client's certificate is taken, or once none is asked for.
func (c *counted) bound(config *tls.Config, l *Listener) *tls.Config {
	c.of, c.budget, c.greets = l, l.bounds.Bytes, l.bounds.Hello > 0
	if config.VerifyConnection != nil {
		c.alert = tlsalert.New(c.Conn)
		config = c.alert.Configure(config)
	}
	verify := config.VerifyConnection
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		if verify != nil {
			if err := verify(cs); err != nil {
				return err
			}
		}
		c.of = nil
		return nil
	}
	return config
}

// Read is net.Conn's. It ends a handshake without a ClientHello in time, and one that
// sends too much.
func (c *counted) Read(p []byte) (int, error) {
	l := c.of
	if l == nil {
		return c.read(p)
	}
	if c.greets {
		if err := c.greet(l.bounds.Hello); err != nil {
			return 0, err
		}
	}
	if l.bounds.Bytes == 0 {
		return c.read(p)
	}
	if c.budget == 0 {
		return 0, &pki.RefusedError{Reason: pki.BadCertificate, Detail: "the handshake sends more than limits.maxHandshakeBytes"}
	}
	n, err := c.read(p[:min(len(p), c.budget)])
	c.budget -= n
	return n, err
}

func (c *counted) read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// greet waits for the ClientHello.
func (c *counted) greet(limit time.Duration) (err error) {
	c.greets = false
	if c.head, err = admission.ReadHello(c.Conn, limit); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.of.dropped(admission.SilentTimeout)
		}
		return err
	}
	if c.head[0] != handshakeRecord { // net/http answers plain HTTP, and a reset by unread bytes would overtake it
		rest := make([]byte, 4<<10)
		_ = c.Conn.SetReadDeadline(time.Now().Add(restWait)) // if it fails, so does Read
		n, _ := c.Conn.Read(rest)
		c.head = append(c.head, rest[:n]...)
	}
	var deadline time.Time
	if ns := c.deadline.Load(); ns != 0 {
		deadline = time.Unix(0, ns)
	}
	return c.Conn.SetReadDeadline(deadline) // ReadHello has removed it
}

// SetDeadline implements net.Conn.
func (c *counted) SetDeadline(t time.Time) error {
	c.note(t)
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *counted) SetReadDeadline(t time.Time) error {
	c.note(t)
	return c.Conn.SetReadDeadline(t)
}

func (c *counted) note(t time.Time) {
	ns := int64(0)
	if !t.IsZero() {
		ns = t.UnixNano()
	}
	c.deadline.Store(ns)
}

// Write is net.Conn's. Nothing follows the alert of a refused handshake.
func (c *counted) Write(p []byte) (int, error) {
	if c.alert.Sent() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.place.Leave()
	return c.Conn.Close()
}
