package pki

import (
	"crypto/tls"
	"crypto/x509"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// TestKnown: who is known from before is refused all the same as soon as there is
// a reason, and for that reason.
func TestKnown(t *testing.T) {
	server, ca, other := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients"), pkitest.NewCA(t, "other")
	now := time.Now()
	short := ca.Intermediate(t, "short", func(c *x509.Certificate) { c.NotAfter = now.Add(time.Hour) })
	cert := short.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}})
	stranger := other.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}})
	var clock atomic.Pointer[time.Time]
	clock.Store(&now)
	options := TLSOptions{Now: func() time.Time { return *clock.Load() }}
	s := snapshotOf(t, server, ca)
	revoked := *s
	revoked.Revocation = revoker{cert.Leaf.SerialNumber.String()}
	gone := snapshotOf(t, server, other)
	var current atomic.Pointer[tls.Config]
	current.Store(s.ServerConfig(options))
	addr, results := handshakes(t, current.Load, 10*time.Second)
	for i, step := range []struct {
		config *tls.Config
		at     time.Time
		cert   *pkitest.Cert
		want   Reason
	}{
		{s.ServerConfig(options), now, cert, ""},
		{s.ServerConfig(options), now, cert, ""},
		{s.ServerConfig(options), now, stranger, Untrusted},
		{revoked.ServerConfig(options), now, cert, Revoked},
		{gone.ServerConfig(options), now, cert, Untrusted},
		{s.ServerConfig(options), now.Add(2 * time.Hour), cert, Expired}, // its intermediate is
		{s.ServerConfig(options), now.Add(-48 * time.Hour), cert, NotYetValid},
		{s.ServerConfig(options), now, cert, ""},
	} {
		current.Store(step.config)
		clock.Store(&step.at)
		client := clientConfig(server, step.cert)
		client.Time = func() time.Time { return now }
		_ = dial(addr, client)
		if r := next(t, results); HandshakeReason(r.err, step.at) != step.want {
			t.Errorf("step %d: %v, want %q", i, r.err, step.want)
		}
	}
	if n := len(s.Bundle.known.peers); n != 1 {
		t.Errorf("%d are known, want the one that was let in", n)
	}
}

// TestKnownIsBounded: however many come, so many are known.
func TestKnownIsBounded(t *testing.T) {
	var k known
	for i := range maxKnown + 100 {
		sum := [32]byte{}
		copy(sum[:], strconv.Itoa(i))
		k.put(sum, &Peer{})
	}
	if len(k.peers) != maxKnown {
		t.Errorf("%d are known", len(k.peers))
	}
}

// TestKnownKeepsOnlyChains: whoever has a copy of a good certificate, but not its key, can
// put other certificates behind it. They are not kept, nor is the message they came in.
//
// Holds: stranger/known-chains
func TestKnownKeepsOnlyChains(t *testing.T) {
	ca, other := pkitest.NewCA(t, "clients"), pkitest.NewCA(t, "other")
	intermediate := ca.Intermediate(t, "intermediate", nil)
	leaf := intermediate.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}).Leaf
	s := snapshotOf(t, ca, ca)
	good := []*x509.Certificate{leaf, intermediate.Cert, ca.Cert}
	if _, err := s.verifyKnown(good, time.Now); err != nil {
		t.Fatal(err)
	}
	p := s.Bundle.known.get(chainSum(good))
	if p == nil || &p.Leaf.Raw[0] == &leaf.Raw[0] || &p.anchor.Load().chains[0].certs[1].Raw[0] == &intermediate.Cert.Raw[0] {
		t.Fatal("not known, or kept together with the message")
	}
	for _, behind := range [][]*x509.Certificate{
		{intermediate.Cert, other.Cert},
		{intermediate.Cert, intermediate.Cert},
		{intermediate.Cert, other.Intermediate(t, "x", nil).Cert, ca.Cert},
	} {
		if _, err := s.verifyKnown(append([]*x509.Certificate{leaf}, behind...), time.Now); err != nil {
			t.Error(err)
		}
	}
	if n := len(s.Bundle.known.peers); n != 1 {
		t.Errorf("%d are known, want 1", n)
	}
}

// revoker has revoked one serial number.
type revoker struct{ serial string }

func (r revoker) Prepare(chain []*x509.Certificate, _ []SAN) any {
	return chain[0].SerialNumber.String()
}

func (r revoker) Check(prepared any, _ time.Time) Finding {
	if prepared == r.serial {
		return Finding{Reason: Revoked}
	}
	return Finding{}
}

// TestKnownResumption: a session ticket is taken where the client is still let in,
// and saves nobody from any check.
func TestKnownResumption(t *testing.T) {
	server, ca, other := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients"), pkitest.NewCA(t, "other")
	cert := ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}})
	s, gone := snapshotOf(t, server, ca), snapshotOf(t, server, other)
	revoked := *s
	revoked.Revocation = revoker{cert.Leaf.SerialNumber.String()}
	later := func() time.Time { return time.Now().Add(2 * time.Hour) }
	tickets := TLSOptions{SessionTickets: true}
	for _, tt := range []struct {
		name    string
		second  *tls.Config
		resumed bool
		want    Reason
	}{
		{"still good", s.ServerConfig(tickets), true, ""},
		{"revoked since", revoked.ServerConfig(tickets), true, Revoked},
		{"CA left the bundle", gone.ServerConfig(tickets), true, Untrusted},
		{"expired since", s.ServerConfig(TLSOptions{SessionTickets: true, Now: later}), false, Expired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var current atomic.Pointer[tls.Config]
			current.Store(s.ServerConfig(tickets))
			addr, results := handshakes(t, current.Load, 10*time.Second)
			client := clientConfig(server, cert)
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			if err := dial(addr, client); err != nil {
				t.Fatal(err)
			}
			if r := next(t, results); r.err != nil {
				t.Fatal(r.err)
			}
			current.Store(tt.second)
			_ = dial(addr, client)
			r := next(t, results)
			if r.state.DidResume != tt.resumed || HandshakeReason(r.err, time.Now()) != tt.want {
				t.Errorf("resumed: %v, %v; want %v, %q", r.state.DidResume, r.err, tt.resumed, tt.want)
			}
		})
	}
}
