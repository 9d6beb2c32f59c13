package spiffe_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/spiffe"
	"github.com/sangate/sangate/pki/spiffe/spiffetest"
)

const partner = "spiffe://partner.example"

// What is bad in an update is left out and told; what is good beside it is in force: our own
// new root above all.
//
// Holds: authority/bad-part-of-bundle
func TestBadPartsAreLeftOut(t *testing.T) {
	agent := spiffetest.Start(t, domain)
	agent.Issue("/gate", time.Hour)
	federated := agent.Federate("partner.example")
	s := follow(t, agent, spiffe.Options{Federated: []string{"partner.example", "empty.example"}})
	s.taken()
	noCA := agent.Root().Issue(t, pkitest.Leaf{URIs: []string{gateID}}).Leaf.Raw
	fat := pkitest.NewCA(t, "fat").Sibling(t, func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "fat", OrganizationalUnit: slices.Repeat([]string{"unit"}, 2000)}
	}).Cert.Raw
	for name, c := range map[string]struct {
		edit func(*workload.X509SVIDResponse)
		told []string
	}{
		"no CA of a partner": {func(r *workload.X509SVIDResponse) {
			r.FederatedBundles[partner] = slices.Concat(noCA, r.FederatedBundles[partner])
		}, []string{"partner.example: ", "not a CA's certificate"}},
		"no CA of ours": {func(r *workload.X509SVIDResponse) { r.Svids[0].Bundle = append(r.Svids[0].Bundle, noCA...) }, []string{"example.org", "not a CA's"}},
		"a fat one": {func(r *workload.X509SVIDResponse) {
			r.FederatedBundles[partner] = append(r.FederatedBundles[partner], fat...)
		}, []string{"at most 16384"}},
		"garbage behind": {func(r *workload.X509SVIDResponse) {
			r.FederatedBundles[partner] = append(r.FederatedBundles[partner], "garbage"...)
		}, []string{"no certificate"}},
		"an element that is no certificate": {func(r *workload.X509SVIDResponse) {
			r.FederatedBundles[partner] = slices.Concat([]byte{0x30, 0x03, 2, 1, 1}, r.FederatedBundles[partner])
		}, []string{"cannot be read"}},
		"garbage of another partner": {func(r *workload.X509SVIDResponse) { r.FederatedBundles["spiffe://empty.example"] = []byte("garbage") }, []string{"empty.example: "}},
		"too many of another partner": {func(r *workload.X509SVIDResponse) {
			r.FederatedBundles["spiffe://empty.example"] = bytes.Repeat(r.Svids[0].Bundle, 1001)
		}, []string{"empty.example: ", "the whole bundle"}},
		"garbage of a stranger":     {func(r *workload.X509SVIDResponse) { r.FederatedBundles["spiffe://other.example"] = []byte("garbage") }, nil},
		"a stranger without a name": {func(r *workload.X509SVIDResponse) { r.FederatedBundles["://"] = []byte("garbage") }, nil},
		"another identity, other key": {func(r *workload.X509SVIDResponse) {
			c := agent.Root().Issue(t, pkitest.Leaf{URIs: []string{gateID}, OtherKey: true})
			r.Svids = append(r.Svids, spiffetest.Message(t, gateID, c, agent.Authorities()))
		}, []string{"an identity that this gate does not take", "does not match private key"}},
		"another identity without a name": {func(r *workload.X509SVIDResponse) { r.Svids = append(r.Svids, &workload.X509SVID{}) }, []string{"an identity"}},
	} {
		agent.RotateRoot()
		s.taken()
		if left := s.LeftOut(); len(left) > 0 {
			t.Fatalf("before %s: left out: %q", name, left)
		}
		both := agent.Response()
		agent.RetireRoots()
		s.taken()
		bad := agent.Response()
		agent.PushRaw(both) // the old root is trusted again, until the update with the bad part
		s.taken()
		c.edit(bad)
		agent.PushRaw(bad)
		if e := s.next(spiffe.OpUpdate); e.Err != nil {
			t.Errorf("%s: %v", name, e.Err)
			continue
		}
		bundles := s.Bundles()
		if !slices.EqualFunc(bundles[domain], agent.Authorities(), (*x509.Certificate).Equal) || len(bundles[domain]) != 1 {
			t.Errorf("%s: %d authorities of ours, want the new root alone", name, len(bundles[domain]))
		}
		if !slices.EqualFunc(bundles["partner.example"], federated.Authorities(), (*x509.Certificate).Equal) {
			t.Errorf("%s: %d authorities of the partner", name, len(bundles["partner.example"]))
		}
		if len(bundles) != 2 {
			t.Errorf("%s: bundles of %d domains", name, len(bundles))
		}
		left := strings.Join(s.LeftOut(), "\n")
		for _, part := range c.told {
			if !strings.Contains(left, part) {
				t.Errorf("%s: told %q, want %q in it", name, left, part)
			}
		}
		if len(c.told) == 0 && left != "" || len(left) > 2000 {
			t.Errorf("%s: told %q", name, left)
		}
	}
	agent.RotateRoot()
	s.taken()
	s.logged("level=ERROR", "parts of the SPIFFE agent's update are left out", "updates are taken whole again")
}
