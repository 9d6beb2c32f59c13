package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/auth"
)

// A connection is one accepted TCP connection: what was known at its handshake
// and who is at its other end.
type connection struct {
	net.Conn
	snapshot *auth.Snapshot // its handshake's
	peer     *pki.Peer      // set when the handshake is done
	retire   time.Time      // when it is old enough to go; set when the handshake is done
	ended    time.Time      // when its certificate was first seen to be no longer good; under connections.mu
	lost     bool           // its CA was seen to have left the trust bundle; under connections.mu
	closed   func()
	once     sync.Once
}

// Close tells the listener once.
func (c *connection) Close() error {
	c.once.Do(c.closed)
	return c.Conn.Close()
}

// identify notes who the handshake proved is there.
func (c *connection) identify(state tls.ConnectionState) {
	c.peer = pki.NewPeer(state.PeerCertificates, c.snapshot.PKI.Bundle, state.VerifiedChains)
}

type connectionKey struct{}

// withConnection is http.Server.ConnContext.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c.(*tls.Conn).NetConn().(*connection))
}

// connectionOf returns the connection a request came on.
func connectionOf(r *http.Request) *connection {
	return r.Context().Value(connectionKey{}).(*connection)
}

// peerOf returns who sent the request.
func peerOf(r *http.Request) *pki.Peer { return connectionOf(r).peer }
