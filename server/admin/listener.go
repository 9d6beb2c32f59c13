package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/admission"
)

// A Door is what the admin listener shows of itself and whom it lets in.
// Immutable.
type Door struct {
	Certificate func() (*tls.Certificate, error) // as it is at this moment
	Own         *x509.Certificate                // nil: it is the gate's
	Clients     *pki.Bundle                      // the CAs that clients are verified by; nil: anybody may come
	MinVersion  uint16

	// Revocation is what is known of who was taken back; nil, or what returns nil:
	// nothing. Who is on no list gets in.
	Revocation func() pki.Revocation
}

// Equal reports whether two doors are the same to whoever comes.
func (d *Door) Equal(other *Door) bool {
	if d == nil || other == nil {
		return d == other
	}
	a, errA := d.Certificate()
	b, errB := other.Certificate()
	return d.MinVersion == other.MinVersion && errA == nil && errB == nil && slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal) && d.Clients.Equal(other.Clients)
}

// A Listener is the admin listener: plain HTTP without a [Door], TLS with one,
// which may be another at each connection.
type Listener struct {
	net.Listener
	now    func() time.Time
	bounds Bounds
	door   atomic.Pointer[Door]
	room   *admission.Room

	// OnDrop, if non-nil, is called for each connection dropped for a newer one, or
	// because no ClientHello came in time. Set it before the first Accept.
	OnDrop func(admission.Reason)
}

// maxOpen bounds the connections, the others bound the answers on each of them.
const (
	maxOpen  = 256
	maxRate  = 20 // a second
	maxBurst = 50
)

// Bounds of a TLS handshake. Zero is no bound.
type Bounds struct {
	Bytes int           // that the client may send
	Hello time.Duration // to the first byte of the ClientHello, and from there to its last
}

// NewListener takes connections from l.
func NewListener(l net.Listener, now func() time.Time, b Bounds) *Listener {
	return &Listener{Listener: l, now: now, bounds: b, room: admission.NewRoom(maxOpen, maxOpen)}
}

// Use has the connections that come from now on meet a door; nil: plain HTTP.
func (l *Listener) Use(d *Door) { l.door.Store(d) }

// Door returns the one in use, or nil.
func (l *Listener) Door() *Door { return l.door.Load() }

// Accept implements net.Listener. When too many connections are open, the one whose
// last request is longest ago is closed for the new one.
func (l *Listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn := &counted{Conn: raw, pace: rate.NewLimiter(maxRate, maxBurst)}
	conn.place = l.room.Enter(admission.AddressOf(raw), func() {
		_ = raw.Close() // net/http finds it closed
		l.dropped(admission.AdminFull)
	})
	if d := l.door.Load(); d != nil {
		return tls.Server(conn, conn.bound(d.config(l.now), l)), nil
	}
	return conn, nil
}

func (l *Listener) dropped(why admission.Reason) {
	if l.OnDrop != nil {
		l.OnDrop(why)
	}
}

type connKey struct{}

// ConnContext is http.Server.ConnContext.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if counted, ok := c.(*counted); ok {
		return context.WithValue(ctx, connKey{}, counted)
	}
	return ctx
}

// touch notes that a whole request came on its connection.
func touch(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*counted); ok {
		c.place.Touch()
	}
}

// paced waits until the connection of a request may have its next answer.
func paced(r *http.Request) error {
	if c, ok := r.Context().Value(connKey{}).(*counted); ok {
		return c.pace.Wait(r.Context())
	}
	return nil
}

func (d *Door) config(now func() time.Time) *tls.Config {
	conf := &tls.Config{MinVersion: d.MinVersion, SessionTicketsDisabled: true, Time: now}
	cert, err := d.Certificate()
	switch {
	case err != nil: // the handshake fails
		conf.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, err }
	case d.Clients == nil:
		conf.Certificates = []tls.Certificate{*cert}
	default:
		snap := pki.Snapshot{Certificate: cert, Bundle: d.Clients}
		conf = snap.ServerConfig(pki.TLSOptions{MinVersion: d.MinVersion, Now: now})
	}
	conf.NextProtos = []string{"http/1.1"}
	return conf
}

// shows reports whether the listener proves to have that name.
func (l *Listener) shows(host string) bool {
	d := l.door.Load()
	if d == nil {
		return false
	}
	cert, err := d.Certificate()
	return err == nil && cert.Leaf.VerifyHostname(host) == nil
}

// What is told to whom the door was open at the connection, and is not now.
var (
	errNoLonger = errors.New("the client certificate is no longer good here")
	errPlain    = errors.New("this is spoken to over TLS by now")
)

// admit looks at a client as it is now: a connection proves nothing about that.
// The request may last for as long as is left; 0 is without end.
func (l *Listener) admit(r *http.Request) (left time.Duration, err error) {
	touch(r)
	d := l.door.Load()
	switch {
	case d == nil:
		return 0, nil
	case r.TLS == nil:
		return 0, errPlain // it came before there was a door
	case d.Clients == nil:
		return 0, nil
	}
	snap := pki.Snapshot{Bundle: d.Clients}
	peer, err := snap.Verify(r.TLS.PeerCertificates, l.now)
	if err != nil || d.Revocation != nil && peer.Find(&pki.Snapshot{Bundle: d.Clients, Revocation: d.Revocation()}, l.now()).Reason == pki.Revoked {
		return 0, errNoLonger
	}
	return max(peer.NotAfter().Sub(l.now()), 1), nil
}

// While has srv answer on the listener until work returns, and leaves the
// listener open for the next. Who connects in between waits for that.
func (l *Listener) While(srv *http.Server, work func() error) error {
	accepts, ok := l.Listener.(deadliner)
	if !ok { // nothing would end the wait for the next connection
		return work()
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(lent{l, accepts}) }) // until Shutdown
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close()
		}
		serving.Wait()
		_ = accepts.SetDeadline(time.Time{})
	}()
	return work()
}

// A deadliner is a listener such as TCP's.
type deadliner interface{ SetDeadline(time.Time) error }

// lent is a listener that its server cannot close, only stop to take from.
type lent struct {
	*Listener
	accepts deadliner
}

// Close implements net.Listener: who waits in Accept waits no longer.
func (l lent) Close() error { return l.accepts.SetDeadline(time.Unix(1, 0)) }
