package spiffe

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// FuzzBundles gives bundles as an agent sends them: certificates one after the other. What
// is left can be read whole. What is put in force is of our own domain and of those that
// are configured, and every one of it is a CA's certificate, each once.
//
// Holds: authority/bundle-misread
func FuzzBundles(f *testing.F) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	issue := func(template *x509.Certificate) []byte {
		template.SerialNumber = big.NewInt(7)
		template.NotBefore, template.NotAfter = time.Unix(1_800_000_000, 0), time.Unix(1_900_000_000, 0)
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			f.Fatal(err)
		}
		return der
	}
	ca := func(name string, usage x509.KeyUsage) []byte {
		return issue(&x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: usage,
			IsCA: true, BasicConstraintsValid: true})
	}
	root, other, signsNothing := ca("root", x509.KeyUsageCertSign), ca("other", 0), ca("lists", x509.KeyUsageCRLSign)
	leaf := issue(&x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}})
	for _, bundles := range [][2][]byte{
		{root, nil}, {root, other}, {slices.Concat(root, root, other), root}, {leaf, root}, {root, leaf},
		{signsNothing, nil},
		{slices.Concat(root, leaf), slices.Concat(other, leaf)}, {nil, root}, {root[:len(root)-1], nil},
		{slices.Concat(root, []byte{0}), nil}, {bytes.Repeat(root, maxAuthorities+1), nil},
	} {
		f.Add(bundles[0], bundles[1], bundles[1])
	}
	own, partner, stranger := spiffeid.RequireTrustDomainFromString("example.org"),
		spiffeid.RequireTrustDomainFromString("partner.example"), spiffeid.RequireTrustDomainFromString("stranger.example")
	source := &Source{federated: []spiffeid.TrustDomain{partner}}
	f.Fuzz(func(t *testing.T, ours, theirs, strangers []byte) {
		update := &workload.X509SVIDResponse{Svids: []*workload.X509SVID{{SpiffeId: own.IDString() + "/gate", Bundle: ours}},
			FederatedBundles: map[string][]byte{partner.IDString(): theirs, stranger.Name(): strangers}}
		source.sift(update)
		sifted := map[string][]byte{own.Name(): update.Svids[0].Bundle}
		maps.Copy(sifted, update.FederatedBundles)
		set := x509bundle.NewSet()
		for name, der := range sifted {
			td := spiffeid.RequireTrustDomainFromString(name)
			certs, err := x509.ParseCertificates(der) // as go-spiffe does
			if err != nil {
				t.Fatalf("bundle of %s: %v", td, err)
			}
			set.Add(x509bundle.FromX509Authorities(td, certs))
		}
		got, err := source.vetBundles(set, own)
		if err != nil {
			return
		}
		if len(got[own.Name()]) == 0 {
			t.Error("an update without a bundle of our own domain is taken")
		}
		for td, authorities := range got {
			sent, ok := set.Get(spiffeid.RequireTrustDomainFromString(td))
			if !ok || td == stranger.Name() {
				t.Fatalf("a bundle of %q is taken", td)
			}
			for i, c := range authorities {
				if !c.IsCA || c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 || !sent.HasX509Authority(c) {
					t.Errorf("%q of %q is taken for an authority", c.Subject, td)
				}
				if i > 0 && bytes.Compare(authorities[i-1].Raw, c.Raw) >= 0 {
					t.Errorf("the authorities of %q are not each once and in order", td)
				}
			}
		}
	})
}
