package spiffe_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/spiffe"
	"github.com/sangate/sangate/pki/spiffe/spiffetest"
)

// A hostile update is the agent's last good one, edited.
type hostile struct {
	edit func(t *testing.T, a *spiffetest.Agent, resp *workload.X509SVIDResponse)
	say  string // in the error
}

// leaf puts another certificate into the update.
func leaf(l pkitest.Leaf) func(*testing.T, *spiffetest.Agent, *workload.X509SVIDResponse) {
	if l.URIs == nil {
		l.URIs = []string{gateID}
	}
	return func(t *testing.T, a *spiffetest.Agent, resp *workload.X509SVIDResponse) {
		resp.Svids[0] = spiffetest.Message(t, gateID, a.Root().Issue(t, l), a.Authorities())
	}
}

// first edits the first SVID.
func first(edit func(*workload.X509SVID)) func(*testing.T, *spiffetest.Agent, *workload.X509SVIDResponse) {
	return func(_ *testing.T, _ *spiffetest.Agent, resp *workload.X509SVIDResponse) { edit(resp.Svids[0]) }
}

func hostiles() map[string]hostile {
	now := time.Now()
	return map[string]hostile{
		"no SVID":                {func(_ *testing.T, _ *spiffetest.Agent, r *workload.X509SVIDResponse) { r.Svids = nil }, "no SVIDs"},
		"other key":              {leaf(pkitest.Leaf{OtherKey: true}), "does not match private key"},
		"no key":                 {first(func(s *workload.X509SVID) { s.X509SvidKey = nil }), "private key"},
		"garbage key":            {first(func(s *workload.X509SVID) { s.X509SvidKey = []byte("garbage") }), "private key"},
		"no certificate":         {first(func(s *workload.X509SVID) { s.X509Svid = nil }), "no certificates"},
		"garbage certificate":    {first(func(s *workload.X509SVID) { s.X509Svid = []byte("garbage") }), "certificate"},
		"garbage after the leaf": {first(func(s *workload.X509SVID) { s.X509Svid = append(s.X509Svid, "garbage"...) }), "certificate"},
		"ended":                  {leaf(pkitest.Leaf{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute)}), "compare this machine's clock"},
		"ahead":                  {leaf(pkitest.Leaf{NotBefore: now.Add(time.Minute), NotAfter: now.Add(time.Hour)}), "compare this machine's clock"},
		"CA":                     {leaf(pkitest.Leaf{IsCA: true}), "CA flag"},
		"keyCertSign":            {leaf(pkitest.Leaf{KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}), "keyCertSign"},
		"cRLSign":                {leaf(pkitest.Leaf{KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign}), "cRLSign"},
		"no digitalSignature":    {leaf(pkitest.Leaf{KeyUsage: x509.KeyUsageKeyEncipherment}), "digitalSignature"},
		"no URI":                 {leaf(pkitest.Leaf{URIs: []string{}, DNS: []string{"gate.example.org"}}), "no URI SAN"},
		"two URIs":               {leaf(pkitest.Leaf{URIs: []string{gateID, "spiffe://example.org/other"}}), "more than one URI"},
		"two alike":              {leaf(pkitest.Leaf{URIs: []string{gateID, gateID}}), "more than one URI"},
		"not SPIFFE":             {leaf(pkitest.Leaf{URIs: []string{"https://example.org/gate"}}), "scheme"},
		"no path":                {leaf(pkitest.Leaf{URIs: []string{"spiffe://example.org"}}), "non-root path"},
		"upper case":             {leaf(pkitest.Leaf{URIs: []string{"SPIFFE://example.org/gate"}}), "URI names"},
		"fragment":               {leaf(pkitest.Leaf{URIs: []string{gateID + "#"}}), "URI names"},
		"escaped":                {leaf(pkitest.Leaf{URIs: []string{"spiffe://example.org/g%61te"}}), "path segment"},
		"dots":                   {leaf(pkitest.Leaf{URIs: []string{"spiffe://example.org/a/../gate"}}), "dot"},
		"long":                   {leaf(pkitest.Leaf{URIs: []string{gateID + strings.Repeat("e", 2048)}}), "longer than 2048"},
		"long domain":            {leaf(pkitest.Leaf{URIs: []string{"spiffe://" + strings.Repeat("e", 256) + "/gate"}}), "longer than 255"},
		"other trust domain":     {leaf(pkitest.Leaf{URIs: []string{"spiffe://other.example/gate"}}), "other.example"},
		"self-signed":            {leaf(pkitest.Leaf{SelfSigned: true}), "unknown authority"},
		"other CA": {func(t *testing.T, a *spiffetest.Agent, r *workload.X509SVIDResponse) {
			c := pkitest.NewCA(t, domain).Issue(t, pkitest.Leaf{URIs: []string{gateID}})
			r.Svids[0] = spiffetest.Message(t, gateID, c, a.Authorities())
		}, "unknown authority"},
		"authority ended": {func(t *testing.T, a *spiffetest.Agent, r *workload.X509SVIDResponse) {
			old := a.Root().Sibling(t, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
			r.Svids[0].Bundle = old.Cert.Raw
		}, "expired"},
		"root after the leaf is no CA": {func(t *testing.T, a *spiffetest.Agent, r *workload.X509SVIDResponse) {
			more := a.Root().Issue(t, pkitest.Leaf{URIs: []string{gateID}})
			r.Svids[0].X509Svid = append(r.Svids[0].X509Svid, more.Leaf.Raw...)
		}, "CA flag"},
		"long chain": {func(_ *testing.T, a *spiffetest.Agent, r *workload.X509SVIDResponse) {
			r.Svids[0].X509Svid = append(r.Svids[0].X509Svid, bytes.Repeat(a.Root().Cert.Raw, 10)...)
		}, "11 certificates in the chain"},
		"empty bundle":             {first(func(s *workload.X509SVID) { s.Bundle = nil }), "is empty"},
		"garbage bundle":           {first(func(s *workload.X509SVID) { s.Bundle = []byte("garbage") }), "no CA's certificate is in it"},
		"bundle of another domain": {first(func(s *workload.X509SVID) { s.SpiffeId = "spiffe://other.example/gate" }), "is empty"},
		"bundle of no domain":      {first(func(s *workload.X509SVID) { s.SpiffeId = "" }), "trust domain"},
		"many authorities": {func(_ *testing.T, a *spiffetest.Agent, r *workload.X509SVIDResponse) {
			r.Svids[0].Bundle = bytes.Repeat(a.Root().Cert.Raw, 1001)
		}, "1001 certificates"},
	}
}

// A bad update changes nothing, is told and logged, and does not end the stream.
func TestHostileUpdates(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	agent.Federate("partner.example")
	s := follow(t, agent, spiffe.Options{Federated: []string{"partner.example"}})
	s.taken()
	<-s.swaps
	good, cert, bundles := agent.Response(), s.Certificate(), s.Bundles()
	for name, h := range hostiles() {
		agent.PushRaw(good)
		if e := s.taken(); e.Changed {
			t.Fatalf("before %s: %+v", name, e)
		}
		bad := agent.Response()
		h.edit(t, agent, bad)
		agent.PushRaw(bad)
		e := s.next(spiffe.OpUpdate)
		if e.Err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		if !errors.Is(e.Err, spiffe.ErrVet) || !strings.Contains(e.Err.Error(), h.say) {
			t.Errorf("%s: %v; want %q in it", name, e.Err, h.say)
		}
		if s.Certificate() != cert || !sameMap(s.Bundles(), bundles) || len(s.swaps) != 0 || e.Changed {
			t.Errorf("%s: what was in force is not", name)
		}
		s.noKeys(agent)
	}
	s.logged("level=ERROR", "an update of the SPIFFE agent is refused", "the certificate in force holds until")
	if all, _ := agent.Calls(); all != 1 {
		t.Errorf("%d calls for one stream", all)
	}
	agent.Issue("/gate", time.Hour)
	s.taken()
	if s.Certificate() == cert {
		t.Error("a good update after the bad ones is not taken")
	}
}

// Nothing of a bad first update is in force.
func TestHostileFirst(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", -time.Hour)
	s := follow(t, agent, spiffe.Options{})
	if e := s.next(spiffe.OpUpdate); e.Err == nil || s.Certificate() != nil || s.Bundles() != nil || !e.NotAfter.IsZero() {
		t.Errorf("event %+v, %v", e, s.Bundles())
	}
	s.logged("there is no certificate to show")
	agent.Issue("/gate", time.Hour)
	<-s.Ready()
}

func TestIntermediate(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	c := agent.Root().Intermediate(t, "intermediate", nil).Issue(t, pkitest.Leaf{URIs: []string{gateID}})
	agent.PushRaw(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{spiffetest.Message(t, gateID, c, agent.Authorities())}})
	s := follow(t, agent, spiffe.Options{})
	s.taken()
	if got := s.Certificate().Certificate; len(got) != 2 {
		t.Errorf("%d certificates are shown, not leaf and intermediate", len(got))
	}
}

// More than 4 MiB are not read; the agent is asked again.
func TestOversize(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	s := follow(t, agent, spiffe.Options{})
	s.taken()
	big := agent.Response()
	big.Crl = [][]byte{make([]byte, 4<<20)}
	agent.PushRaw(big)
	if e := s.next(spiffe.OpConnect); e.Err == nil || s.Certificate() == nil {
		t.Errorf("event %+v", e)
	}
	s.logged("over 4 MiB")
	agent.Issue("/gate", time.Hour)
	s.taken()
}
