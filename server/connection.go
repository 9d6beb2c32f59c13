package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/tlsalert"
	"github.com/sangate/sangate/server/admission"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/http1"
	"github.com/sangate/sangate/server/turns"
)

// A connection is one accepted TCP connection: what was known at its handshake
// and who is at its other end.
type connection struct {
	net.Conn
	snapshot *auth.Snapshot // its handshake's
	http1    *http1.Conn    // that it carries; nil for HTTP/2
	peer     *pki.Peer      // set when the handshake is done
	since    time.Time      // of then
	retire   time.Time      // when it is old enough to go; set when the handshake is done
	ended    time.Time      // when its certificate was first seen to be no longer good; under connections.mu
	lost     bool           // its CA was seen to have left the trust bundle; under connections.mu
	closed   func()
	once     sync.Once

	head []byte          // read already, and not yet by the TLS stack
	slot *admission.Slot // nil once the handshake is done

	turns      *turns.Turns    // of work on large bodies and answers; nil: there are none
	turn       turns.Turn      // of the handshake, among handshakes
	from       netip.Prefix    // of its client
	handshakes *turns.Turns    // nil: there are none
	proving    context.Context // of the handshake
	in, out    flow

	readBudget int              // bytes the handshake may still read; unbounded after it
	alert      *tlsalert.Sender // of the handshake
	proof      *pki.Handshake   // of the client, in the handshake

	holder
	requests atomic.Int32  // in progress
	used     atomic.Int64  // when the last one ended, Unix ns
	answered atomic.Int32  // over HTTP/2, since nothing was open on it
	sends    atomic.Uint64 // writes begun and ended; odd: one is in progress
	progress progress      // of its client; under connections.mu
}

// unbounded is the read budget of a connection whose handshake is over.
const unbounded = -1

// Read is net.Conn's. It ends a handshake that sends more than its budget. Only the
// handshake's goroutine reads before it is over.
func (c *connection) Read(p []byte) (int, error) {
	if c.readBudget == unbounded {
		n, err := c.readNow(p), error(nil)
		if n == 0 {
			n, err = c.read(p)
		}
		return c.in.moved(n), err
	}
	if c.readBudget == 0 {
		reason := pki.Protocol
		if c.snapshot != nil { // the ClientHello was whole
			reason = pki.BadCertificate
		}
		return 0, &pki.RefusedError{Reason: reason, Detail: "the handshake sends more than limits.maxHandshakeBytes"}
	}
	n, err := c.read(p[:min(len(p), c.readBudget)])
	c.readBudget -= n
	return n, err
}

// read notes while a handshake waits for its client.
func (c *connection) read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	if slot := c.slot; slot != nil {
		c.turn.Leave()
		slot.Waits(time.Now())
		n, err := c.Conn.Read(p)
		slot.Works(time.Now())
		if ended := c.enterHandshake(); ended != nil {
			return 0, ended
		}
		return n, err
	}
	return c.Conn.Read(p)
}

// Write is net.Conn's. Nothing follows the alert of a refused handshake. Writes are
// counted, so that others see whether the client takes anything.
func (c *connection) Write(p []byte) (int, error) {
	if c.alert.Sent() {
		return len(p), nil
	}
	if slot := c.slot; slot != nil {
		return c.writeHandshake(slot, p)
	}
	c.sends.Add(1)
	defer c.sends.Add(1)
	n := c.out.moved(c.writeNow(p))
	if n == len(p) {
		return n, nil
	}
	rest, err := c.Conn.Write(p[n:])
	return n + c.out.moved(rest), err
}

// Idle implements [admission.Member].
func (c *connection) Idle() (since int64, ok bool) { return c.used.Load(), c.requests.Load() == 0 }

// Drop implements [admission.Member]: whoever serves the connection finds it closed.
func (c *connection) Drop() { _ = c.Conn.Close() }

// abort closes the connection at once and discards what is not sent yet.
func (c *connection) abort() {
	if tcp, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // closed all the same
	}
	_ = c.Conn.Close()
}

// occupied counts a request as in progress until the returned function is called.
func (c *connection) occupied() (end func()) {
	c.requests.Add(1)
	return func() {
		c.used.Store(time.Now().UnixNano())
		c.requests.Add(-1)
		c.in.bytes.Store(0)
		c.out.bytes.Store(0)
	}
}

// Close tells the listener once.
func (c *connection) Close() error {
	c.once.Do(c.closed)
	return c.Conn.Close()
}

// prove does the handshake, and then asks what else there is to say against the
// client. Nothing waits for others, or is remembered of the client, before it has
// proved that it holds its key. While it waits its slot may go to another client.
func (c *connection) prove(ctx context.Context, conn *tls.Conn) (tls.ConnectionState, error) {
	c.proving = ctx
	err := c.enterHandshake()
	if err == nil {
		err = conn.HandshakeContext(ctx)
	}
	c.turn.Leave()
	if err != nil {
		c.alert.Judge(nil, nil)
		return tls.ConnectionState{}, err
	}
	state := conn.ConnectionState()
	if c.slot != nil {
		c.slot.Waits(time.Now())
		defer func() { c.slot.Works(time.Now()) }()
	}
	peer, err := c.proof.Confirm(ctx)
	c.alert.Judge(&state, err)
	c.peer, c.proof = peer, nil
	return state, err
}

type connectionKey struct{}

// withConnection is http.Server.ConnContext.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c.(interface{ NetConn() net.Conn }).NetConn().(*connection))
}

// idled is http.Server.ConnState.
func idled(c net.Conn, state http.ConnState) {
	if state != http.StateIdle {
		return
	}
	if c, ok := c.(interface{ NetConn() net.Conn }).NetConn().(*connection); ok {
		c.answered.Store(0)
	}
}

// contextOf is what the requests of a connection have from it, as net/http has it.
func contextOf(c *connection) context.Context {
	return context.WithValue(context.WithValue(context.Background(), http.LocalAddrContextKey, c.LocalAddr()), connectionKey{}, c)
}

// connectionOf returns the connection a request came on.
func connectionOf(r *http.Request) *connection {
	return r.Context().Value(connectionKey{}).(*connection)
}

// peerOf returns who sent the request: the client that a proxy carried it for, or
// the one at the other end.
func peerOf(r *http.Request) *pki.Peer { return requestOf(r.Context()).asked.Peer }

// carried finds whose certificate a proxy was shown, and puts it into the
// request; what others say about certificates is not looked at. It reports false
// where the proxy says nothing that can be believed, which is answered then.
func (s *Server) carried(w http.ResponseWriter, q *request) bool {
	direct, snap := q.conn.peer, s.gate.Snapshot()
	format, ok := snap.Proxies.Find(direct)
	if !ok {
		return true
	}
	peer, err := s.proxied.Peer(q.http.Header, format, snap.PKI, s.opts.Now)
	if err != nil {
		d := s.gate.Carried(direct, err)
		s.record(q, &d, 0)
		answer.Fail(w, q.http, answer.Refusal(&d, false))
		return false
	}
	q.asked.Peer, q.via = peer, direct
	return true
}
