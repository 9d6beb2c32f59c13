package spiffe_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/spiffe"
	"github.com/sangate/sangate/pki/spiffe/spiffetest"
)

func TestFirstUpdate(t *testing.T) {
	for name, start := range map[string]func(testing.TB, string) *spiffetest.Agent{
		"unix": spiffetest.Start, "tcp": spiffetest.StartTCP,
	} {
		t.Run(name, func(t *testing.T) {
			agent := start(t, domain)
			agent.Issue("/gate", time.Hour)
			s := follow(t, agent, spiffe.Options{})
			<-s.Ready()
			if e := s.taken(); !e.Changed || e.Result() != "ok" || !e.NotAfter.Equal(s.Certificate().Leaf.NotAfter) {
				t.Errorf("event %+v", e)
			}
			if got := s.Certificate().Leaf.URIs[0].String(); got != gateID || s.ID() != gateID {
				t.Errorf("certificate of %s, ID %s", got, s.ID())
			}
			if got := s.Bundles(); len(got) != 1 || !slices.EqualFunc(got[domain], agent.Authorities(), (*x509.Certificate).Equal) {
				t.Errorf("bundles %v", got)
			}
			if s.TrustDomain() != domain || !s.Next().IsZero() {
				t.Errorf("trust domain %q, next %v", s.TrustDomain(), s.Next())
			}
			s.logged("spiffeID="+gateID, "serial="+s.Certificate().Leaf.SerialNumber.Text(16), "notAfter=", "authorities.example.org=1")
			if all, forged := agent.Calls(); all != 1 || forged != 0 {
				t.Errorf("%d calls, %d of them without the header", all, forged)
			}
			if strings.Contains(s.log.String(), "crosses a network") {
				t.Error("warned of a network where there is none")
			}
		})
	}
}

// The certificate serves, and the bundle lets the domain's clients in and no
// other's.
func TestHandshake(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	s := follow(t, agent, spiffe.Options{})
	<-s.Ready()
	stranger := spiffetest.Start(t, "other.example").ClientSVID("/client", time.Hour)
	for name, c := range map[string]struct {
		client tls.Certificate
		good   bool
	}{
		"ours":     {agent.ClientSVID("/client", time.Hour), true},
		"ended":    {agent.ClientSVID("/client", -time.Hour), false},
		"stranger": {stranger, false},
	} {
		pool := x509.NewCertPool()
		for _, authority := range s.Bundles()[domain] {
			pool.AddCert(authority)
		}
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
			Certificates: []tls.Certificate{*s.Certificate()}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		})
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() {
			conn, err := ln.Accept()
			if err == nil {
				err = conn.(*tls.Conn).Handshake()
				conn.Close()
			}
			served <- err
		}()
		dial(t, ln.Addr(), &tls.Config{
			Certificates: []tls.Certificate{c.client}, InsecureSkipVerify: true, //nolint:gosec // an SVID has no host name
			VerifyConnection: func(state tls.ConnectionState) error {
				_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: agent.Pool()})
				return err
			},
		})
		if err := <-served; (err == nil) != c.good {
			t.Errorf("%s: handshake: %v", name, err)
		}
		ln.Close()
	}
}

func dial(t *testing.T, addr net.Addr, config *tls.Config) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr.String(), config)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, conn) // until the server has made up its mind
	conn.Close()
}

// What did not change keeps its identity, and nobody is called for it.
func TestRenewal(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	s := follow(t, agent, spiffe.Options{})
	s.taken()
	first, bundles := s.Certificate(), s.Bundles()
	<-s.swaps

	agent.PushRaw(agent.Response())
	if e := s.taken(); e.Changed || s.Certificate() != first || len(s.swaps) != 0 {
		t.Errorf("the same again: %+v, %d calls", e, len(s.swaps))
	}
	agent.Issue("/gate", 2*time.Hour)
	if e := s.taken(); !e.Changed || s.Certificate() == first || s.Certificate().Leaf.Equal(first.Leaf) {
		t.Errorf("a new certificate is not taken: %+v", e)
	}
	<-s.swaps
	if !sameMap(s.Bundles(), bundles) {
		t.Error("the bundles are others for a new certificate alone")
	}
	second := s.Certificate()
	rotating := agent.Response()
	rotating.Svids[0].Bundle = append(rotating.Svids[0].Bundle, spiffetest.Start(t, domain).Authorities()[0].Raw...)
	agent.PushRaw(rotating)
	if e := s.taken(); !e.Changed || s.Certificate() != second || len(s.Bundles()[domain]) != 2 {
		t.Errorf("another root alone: %+v, %d authorities", e, len(s.Bundles()[domain]))
	}
	other := agent.Response()
	other.FederatedBundles["spiffe://unasked.example"] = other.Svids[0].Bundle
	agent.PushRaw(other)
	if e := s.taken(); e.Changed || s.Certificate() != second || len(s.Bundles()) != 1 {
		t.Errorf("a domain nobody asked for: %+v, %v", e, s.Bundles())
	}
}

func sameMap(a, b map[string][]*x509.Certificate) bool {
	return maps.EqualFunc(a, b, func(a, b []*x509.Certificate) bool { return &a[0] == &b[0] })
}

func TestRootRotation(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	s := follow(t, agent, spiffe.Options{})
	s.taken()
	old := s.Bundles()[domain][0]
	agent.RotateRoot()
	s.taken()
	if got := s.Bundles()[domain]; len(got) != 2 || !slices.ContainsFunc(got, old.Equal) {
		t.Errorf("%d authorities during the rotation", len(got))
	}
	if err := s.Certificate().Leaf.CheckSignatureFrom(agent.Root().Cert); err != nil {
		t.Errorf("the certificate is not the new root's: %v", err)
	}
	agent.RetireRoots()
	s.taken()
	if got := s.Bundles()[domain]; len(got) != 1 || got[0].Equal(old) {
		t.Errorf("%d authorities after the rotation, the old one among them or not", len(got))
	}
	s.logged("authorities.example.org=2")
}

func TestFederation(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	s := follow(t, agent, spiffe.Options{Federated: []string{"partner.example", "spiffe://far.example", domain}})
	s.taken()
	s.logged("gives no bundle of a federated trust domain", "trustDomain=partner.example")
	partner := agent.Federate("partner.example")
	s.taken()
	agent.Federate("unasked.example")
	if e := s.taken(); !e.Changed {
		t.Error("a push signs anew")
	}
	if got := slices.Sorted(maps.Keys(s.Bundles())); !slices.Equal(got, []string{domain, "partner.example"}) {
		t.Errorf("bundles of %q", got)
	}
	if got := s.Bundles()["partner.example"]; !slices.EqualFunc(got, partner.Authorities(), (*x509.Certificate).Equal) {
		t.Errorf("the partner's bundle is %v", got)
	}
	empty := agent.Response()
	empty.FederatedBundles["spiffe://partner.example"] = nil
	agent.PushRaw(empty)
	s.taken()
	if got := s.Bundles(); len(got) != 1 {
		t.Errorf("the partner publishes no authority, and is trusted: %v", got)
	}
}

func TestChoice(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	offer := []spiffetest.SVID{
		{ID: "/first", Lifetime: time.Hour},
		{ID: "/gate", Hint: "external", Lifetime: time.Hour},
		{ID: "/other", Hint: "internal", Lifetime: time.Hour},
	}
	agent.Offer(offer...)
	for want, opts := range map[string]spiffe.Options{
		"spiffe://example.org/first": {},
		gateID:                       {ID: gateID},
		"spiffe://example.org/other": {Hint: "internal"},
	} {
		s := follow(t, agent, opts)
		s.taken()
		if s.ID() != want {
			t.Errorf("%+v: took %s", opts, s.ID())
		}
	}

	byID, byHint := follow(t, agent, spiffe.Options{ID: gateID}), follow(t, agent, spiffe.Options{Hint: "external"})
	byID.taken()
	byHint.taken()
	agent.Offer(offer[0], offer[2])
	for _, s := range []*running{byID, byHint} {
		if e := s.next(spiffe.OpUpdate); e.Err == nil || e.Result() != "error" || s.ID() != gateID || s.Certificate() == nil {
			t.Errorf("our identity is gone from the offer: %+v, ID %s", e, s.ID())
		}
		s.logged("spiffe://example.org/other", "internal", "the certificate in force holds until")
	}
	byID.logged("spire-server entry create")
}

// The default identity may change, with a warning; its trust domain may not.
func TestIdentityChanges(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	s := follow(t, agent, spiffe.Options{})
	s.taken()
	agent.Issue("/renamed", time.Hour)
	s.taken()
	s.logged("level=WARN", "another SPIFFE ID", "was="+gateID)
	agent.Issue("spiffe://elsewhere.example/gate", time.Hour)
	if e := s.next(spiffe.OpUpdate); e.Err == nil || s.TrustDomain() != domain || s.Bundles()["elsewhere.example"] != nil {
		t.Errorf("the trust domain changed: %+v, %s", e, s.TrustDomain())
	}
	s.logged("restart the gate")
}
