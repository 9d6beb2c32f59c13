package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/contain"
	"github.com/sangate/sangate/pki/tlsalert"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/admission"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/console"
	"github.com/sangate/sangate/server/http1"
	"github.com/sangate/sangate/server/turns"
)

// A listener accepts connections, does their TLS handshakes, bounded in number
// and time, and hands on those that were done. Every handshake is counted, and
// logged with its reason where it was refused.
type listener struct {
	inner          net.Listener
	plain          *http1.Server
	turns          *turns.Turns // of work on large bodies and answers
	handshakeTurns *turns.Turns
	gate           *auth.Gate
	conns          *connections
	metrics        *admin.Metrics
	log            *slog.Logger
	refusals       *console.Refusals
	now            func() time.Time
	timeout        time.Duration

	maxBytes     int // that a handshake may read
	silent       *admission.Room
	handshakes   *admission.Handshakes
	shares       *admission.Shares
	helloTimeout time.Duration
	ready        chan net.Conn
	ctx          context.Context // of the handshakes; ends when the listener is closed
	cancel       context.CancelFunc
	wg           sync.WaitGroup
}

func newListener(inner net.Listener, s *Server, l config.Limits) *listener {
	ctx, cancel := context.WithCancel(context.Background())
	want := admission.Capacity{Silent: l.MaxSilent, Handshakes: l.MaxHandshakes, Open: l.MaxConnections}
	has := want.Fit()
	if has != want {
		s.log.Warn("open file limit is too low for the configured connections; raise it (ulimit -n)",
			"maxConnections", has.Open, "maxHandshakes", has.Handshakes, "maxSilentConnections", has.Silent)
	}
	return &listener{
		ctx: ctx, cancel: cancel,
		inner: inner, plain: s.plainServer(), turns: s.turns, handshakeTurns: turns.ForCPU(), gate: s.gate, conns: s.conns, metrics: s.metrics, log: s.repeated, refusals: &s.refusals, now: s.opts.Now, timeout: l.HandshakeTimeout,
		maxBytes:     l.MaxHandshakeBytes,
		silent:       admission.NewRoom(has.Silent, min(l.SilentPerAddress, has.Silent)),
		handshakes:   admission.NewHandshakes(has.Handshakes, most(has.Handshakes, addressShare), handshakeStall),
		shares:       admission.NewShares(sharesOf(has.Open, l)),
		helloTimeout: l.HelloTimeout,
		ready:        make(chan net.Conn),
	}
}

// run accepts until the listener is closed and returns when every handshake in
// flight has ended.
func (l *listener) run() error {
	defer l.wg.Wait()
	base := &tls.Config{GetConfigForClient: l.configFor, MinVersion: tls.VersionTLS12}
	for {
		raw, err := l.inner.Accept()
		if err != nil {
			if l.ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			l.log.Warn("accepting a connection", "err", err)
			select { // out of file descriptors, most likely
			case <-time.After(50 * time.Millisecond):
			case <-l.ctx.Done():
				return nil
			}
			continue
		}
		boundUnsent(raw)
		from := admission.AddressOf(raw)
		c := &connection{Conn: raw, readBudget: l.maxBytes, turns: l.turns, handshakes: l.handshakeTurns, from: from, closed: func() {}}
		place := l.silent.Enter(from, c.Drop) // here, so that no more wait than there is room for
		l.wg.Go(func() { l.contained(c, func() { l.greet(c, from, place, base) }) })
	}
}

// configFor picks the snapshot that the whole handshake is done under.
func (l *listener) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c := hello.Conn.(*connection)
	c.snapshot = l.gate.Snapshot()
	c.alert = tlsalert.New(c.Conn)
	c.proof = c.snapshot.PKI.NewHandshake(l.now)
	return c.alert.ConfigureSteps(c.snapshot.TLS, c.proof.Verify), nil
}

func (l *listener) handshake(ctx context.Context, c *connection, conn *tls.Conn) {
	state, err := c.prove(ctx, conn)
	c.readBudget = unbounded
	if err != nil {
		l.refused(ctx, c, conn, err)
		_ = conn.Close()
		return
	}
	l.metrics.Handshake(&state)
	l.handshakes.Accepted(c.from)
	c.slot = nil
	c.holder = holderOf(c.snapshot, c.peer)
	c.used.Store(time.Now().UnixNano())
	why, ok := l.shares.Enter(c.tenant, c.identity, c.connections, c)
	if why != "" {
		l.metrics.ConnectionDropped(why)
	}
	if !ok {
		_ = conn.Close()
		return
	}
	c.closed = func() { l.conns.remove(c); l.metrics.Connections.Dec(); l.shares.Leave(c.tenant, c.identity, c) }
	if state.NegotiatedProtocol != "h2" {
		c.http1 = l.plain.New(contextOf(c), conn)
	}
	l.metrics.Connections.Inc()
	l.conns.add(c, l.now()) // from here on others look at it, so it is whole
	if c.http1 == nil {
		l.pass(conn)
		return
	}
	l.wg.Go(func() { // without what the handshake's stack has grown to
		l.contained(c, func() {
			if c.http1.Serve() {
				l.pass(c.http1)
			}
		})
	})
}

// contained closes the connection if serve, which reads what a stranger sends, panics.
func (l *listener) contained(c *connection, serve func()) {
	if contain.Do(l.log, "serve a connection", func() error { serve(); return nil }) != nil {
		_ = c.Close()
	}
}

// pass has net/http serve a connection.
func (l *listener) pass(c net.Conn) {
	select {
	case l.ready <- c:
	case <-l.ctx.Done():
		_ = c.Close()
	}
}

func (l *listener) refused(ctx context.Context, c *connection, conn *tls.Conn, err error) {
	reason := pki.HandshakeReason(err, l.now())
	if ctx.Err() == context.DeadlineExceeded {
		reason = pki.Timeout // whatever the closed connection made of it
	}
	l.metrics.HandshakeRefused(reason)
	if refused, ok := errors.AsType[*pki.RefusedError](err); ok {
		l.metrics.Revoked(reason, refused.Source)
	}
	l.refusals.Add(refusedHandshake(l.now(), reason, conn, err))
	l.log.Info("handshake refused", "reason", reason, "remote", c.RemoteAddr().String(), "err", pki.Cut(err.Error(), 1024))
}

// Accept, Close and Addr make a net.Listener for http.Server.

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.cancel()
	return l.inner.Close()
}

func (l *listener) Addr() net.Addr { return l.inner.Addr() }
