package pki

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// TestResumption makes a session under one configuration and comes back with
// its ticket under another.
func TestResumption(t *testing.T) {
	server, ca, other := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients"), pkitest.NewCA(t, "other")
	ours, theirs, both := snapshotOf(t, server, ca), snapshotOf(t, server, other), snapshotOf(t, server, ca, other)
	tickets := TLSOptions{SessionTickets: true}
	// stock is what a server without our hook would let in.
	stock := ours.ServerConfig(tickets)
	stock.VerifyConnection = nil
	good := pkitest.Leaf{DNS: []string{"a.example"}}
	later := func() time.Time { return time.Now().Add(2 * time.Hour) }
	tests := []struct {
		name          string
		leaf          pkitest.Leaf
		first, second *tls.Config
		resumed       bool
		want          Reason // of the second handshake
	}{
		{"same bundle", good, ours.ServerConfig(tickets), ours.ServerConfig(tickets), true, ""},
		{"bundle grew", good, ours.ServerConfig(tickets), both.ServerConfig(tickets), true, ""},
		{"CA left the bundle", good, ours.ServerConfig(tickets), theirs.ServerConfig(tickets), true, Untrusted},
		{"expired since", good, ours.ServerConfig(tickets), ours.ServerConfig(TLSOptions{SessionTickets: true, Now: later}), false, Expired},
		{"no usage: CheckLeaf runs on resumption", pkitest.Leaf{DNS: good.DNS, NoExtKeyUsage: true}, stock, ours.ServerConfig(tickets), true, WrongUsage},
		{"CA as leaf: CheckLeaf runs on resumption", pkitest.Leaf{DNS: good.DNS, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}, stock, ours.ServerConfig(tickets), true, WrongUsage},
		{"tickets off by default", good, ours.ServerConfig(TLSOptions{}), ours.ServerConfig(TLSOptions{}), false, ""},
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tt := range tests {
			t.Run(tls.VersionName(version)+"/"+tt.name, func(t *testing.T) {
				var current atomic.Pointer[tls.Config]
				swap := func(c *tls.Config) {
					c = c.Clone()
					c.MinVersion = tls.VersionTLS12
					current.Store(c)
				}
				swap(tt.first)
				addr, results := handshakes(t, current.Load, 10*time.Second)
				client := clientConfig(server, ca.Issue(t, tt.leaf))
				client.MaxVersion = version
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				if err := dial(addr, client); err != nil {
					t.Fatal(err)
				}
				if r := next(t, results); r.err != nil {
					t.Fatal(r.err)
				}
				swap(tt.second)
				_ = dial(addr, client)
				r := next(t, results)
				if got := HandshakeReason(r.err, time.Now()); got != tt.want {
					t.Errorf("got %q from %v, want %q", got, r.err, tt.want)
				}
				if r.state.DidResume != tt.resumed {
					t.Errorf("resumed %t, want %t", r.state.DidResume, tt.resumed)
				}
			})
		}
	}
}

func TestServerConfigTLS12(t *testing.T) {
	server, ca := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients")
	s := snapshotOf(t, server, ca)
	addr, results := handshakes(t, func() *tls.Config { return s.ServerConfig(TLSOptions{MinVersion: tls.VersionTLS12}) }, 10*time.Second)
	for name, tt := range map[string]struct {
		cert *pkitest.Cert
		want Reason
	}{
		"good":           {ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}), ""},
		"no certificate": {nil, NoCertificate},
		"other key":      {ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}, OtherKey: true}), BadCertificate},
		"no usage":       {ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}, NoExtKeyUsage: true}), WrongUsage},
	} {
		t.Run(name, func(t *testing.T) {
			config := clientConfig(server, tt.cert)
			config.MaxVersion = tls.VersionTLS12
			_ = dial(addr, config)
			r := next(t, results)
			if got := HandshakeReason(r.err, time.Now()); got != tt.want {
				t.Errorf("got %q from %v, want %q", got, r.err, tt.want)
			}
			if tt.want == "" && r.state.Version != tls.VersionTLS12 {
				t.Errorf("version %x", r.state.Version)
			}
		})
	}
}
