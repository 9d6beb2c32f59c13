package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// peerOf is the client with cert as its handshake under s leaves it at now.
func peerOf(t *testing.T, s *Snapshot, cert *pkitest.Cert, now time.Time) *Peer {
	t.Helper()
	sent := make([]*x509.Certificate, 0, len(cert.TLS.Certificate))
	pool := x509.NewCertPool()
	for i, der := range cert.TLS.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if sent = append(sent, c); i > 0 {
			pool.AddCert(c)
		}
	}
	chains, err := sent[0].Verify(x509.VerifyOptions{Roots: s.Bundle.pool, Intermediates: pool, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		t.Fatal(err)
	}
	return NewPeer(sent, s.Bundle, chains)
}

func TestPeerCheckDates(t *testing.T) {
	server, ca := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients")
	now := time.Now().Truncate(time.Second)
	end := now.Add(time.Hour)
	short := ca.Intermediate(t, "short", func(c *x509.Certificate) { c.NotAfter = now.Add(10 * time.Minute) })
	leaf := pkitest.Leaf{DNS: []string{"a.example"}, NotBefore: now.Add(-time.Minute), NotAfter: end}
	tests := []struct {
		name     string
		issuer   *pkitest.CA
		at       time.Time
		want     Reason
		notAfter time.Time
	}{
		{"now", ca, now, "", end},
		{"last second", ca, end, "", end},
		{"a moment after", ca, end.Add(1), CertExpired, end},
		{"before its time", ca, now.Add(-time.Minute - 1), CertExpired, end},
		{"intermediate at its last second", short, now.Add(10 * time.Minute), "", now.Add(10 * time.Minute)},
		{"intermediate ended before the leaf", short, now.Add(10*time.Minute + 1), CertExpired, now.Add(10 * time.Minute)},
	}
	s := snapshotOf(t, server, ca)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := peerOf(t, s, tt.issuer.Issue(t, leaf), now)
			if got := p.Check(s, tt.at); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !p.NotAfter().Equal(tt.notAfter) {
				t.Errorf("not after %v, want %v", p.NotAfter(), tt.notAfter)
			}
		})
	}
	t.Run("bundle changed after the intermediate ended", func(t *testing.T) {
		p := peerOf(t, s, short.Issue(t, leaf), now)
		next := snapshotOf(t, server, ca, pkitest.NewCA(t, "more"))
		if got := p.Check(next, now.Add(11*time.Minute)); got != CertExpired {
			t.Errorf("got %q", got)
		}
	})
}

func TestPeerCheckBundles(t *testing.T) {
	server, ca, other := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients"), pkitest.NewCA(t, "other")
	inter := ca.Intermediate(t, "intermediate", nil)
	now := time.Now()
	ours, both, theirs := snapshotOf(t, server, ca), snapshotOf(t, server, ca, other), snapshotOf(t, server, other)
	renewed := snapshotOf(t, server, ca.Sibling(t, nil))
	pinned := snapshotOf(t, server, inter)
	steps := []struct {
		name string
		s    *Snapshot
		want Reason
	}{
		{"as at the handshake", ours, ""},
		{"overlap", both, ""},
		{"root removed", theirs, CertUntrusted},
		{"still removed", theirs, CertUntrusted},
		{"re-added", ours, ""},
		{"root renewed with the same key", renewed, ""},
		{"intermediate as anchor", pinned, ""},
		{"removed again", theirs, CertUntrusted},
	}
	for name, issuer := range map[string]*pkitest.CA{"below root": ca, "below intermediate": inter} {
		t.Run(name, func(t *testing.T) {
			p := peerOf(t, ours, issuer.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}), now)
			for _, step := range steps {
				want := step.want
				if step.s == pinned && issuer == ca {
					want = CertUntrusted
				}
				if got := p.Check(step.s, now); got != want {
					t.Errorf("%s: got %q, want %q", step.name, got, want)
				}
			}
			// Dates go before trust, so that the reason is the one to act on.
			if got := p.Check(theirs, now.Add(48*time.Hour)); got != CertExpired {
				t.Errorf("expired and untrusted: %q", got)
			}
		})
	}
}

func TestPeerWithoutChains(t *testing.T) {
	server, ca := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients")
	s := snapshotOf(t, server, ca)
	good, stranger := ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}), server.Issue(t, pkitest.Leaf{DNS: []string{"*"}})
	if got := NewPeer([]*x509.Certificate{good.Leaf}, nil, nil).Check(s, time.Now()); got != "" {
		t.Errorf("good: %q", got)
	}
	p := NewPeer([]*x509.Certificate{stranger.Leaf}, nil, nil)
	if got := p.Check(s, time.Now()); got != CertUntrusted {
		t.Errorf("stranger: %q", got)
	}
	requireReason(t, p.IdentityErr, SANInvalid)
	serverOnly := ca.Issue(t, pkitest.Leaf{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if got := NewPeer([]*x509.Certificate{serverOnly.Leaf}, nil, nil).Check(s, time.Now()); got != CertUntrusted {
		t.Errorf("server's: %q", got)
	}
}

func TestPeerCheckAllocatesNothing(t *testing.T) {
	server, ca := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients")
	s, theirs := snapshotOf(t, server, ca), snapshotOf(t, server, server)
	now := time.Now()
	p := peerOf(t, s, ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}), now)
	if n := testing.AllocsPerRun(100, func() { p.Check(s, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { p.Check(theirs, now) }); n != 0 {
		t.Errorf("%v allocations where refused", n)
	}
}

func TestPeerCheckConcurrently(t *testing.T) {
	server, ca := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients")
	ours, theirs := snapshotOf(t, server, ca), snapshotOf(t, server, server)
	now := time.Now()
	p := peerOf(t, ours, ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}), now)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if got := p.Check(ours, now); got != "" {
					t.Errorf("ours: %q", got)
				}
				if got := p.Check(theirs, now); got != CertUntrusted {
					t.Errorf("theirs: %q", got)
				}
				p.NotAfter()
			}
		})
	}
	wg.Wait()
}

// TestWeakKeysOnOpenConnections: a client whose key is refused by a tighter setting,
// or below an anchor that is new or weak, is refused on its open connection too, and
// a strong chain counts for it only by itself.
//
// Holds: client/weak-keys
func TestWeakKeysOnOpenConnections(t *testing.T) {
	server, ca := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients")
	now := time.Now()
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	must(t, err)
	weakAnchor := func(of *x509.Certificate) *x509.Certificate { // of the same name and key; its signature is weak, which proves nothing
		return signedWith(t, &x509.Certificate{RawSubject: of.RawSubject, SerialNumber: big.NewInt(9), NotBefore: of.NotBefore,
			NotAfter: of.NotAfter, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, of, p224.Public(), ca.Key())
	}
	weakLeaf := ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}, Key: p224})
	strongLeaf := ca.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}})
	named := func(c *x509.Certificate) *x509.Certificate { return &x509.Certificate{RawSubject: c.RawSubject} }
	below := func(l *x509.Certificate) *x509.Certificate {
		return signedWith(t, l, named(ca.Cert), l.PublicKey, p224)
	}
	bundle, err := NewBundle([]*x509.Certificate{weakAnchor(ca.Cert)})
	must(t, err)
	ours := snapshotOf(t, server, ca)
	wide, grown, weak := *ours, *snapshotOf(t, server, ca, pkitest.NewCA(t, "more")), Snapshot{Certificate: ours.Certificate, Bundle: bundle}
	wide.WeakKeys = []WeakKey{P224}
	other := *ours
	other.WeakKeys = []WeakKey{RSA1024}
	weakWide := weak
	weakWide.WeakKeys = []WeakKey{RSA1024, P224}
	for _, tt := range []struct {
		name          string
		leaf          *x509.Certificate
		before, after *Snapshot
		want          Reason
	}{
		{"P-224 no longer allowed", weakLeaf.Leaf, &wide, ours, BadCertificate},
		{"P-224 no longer allowed, with other anchors", weakLeaf.Leaf, &wide, &grown, BadCertificate},
		{"another kind allowed", weakLeaf.Leaf, &wide, &other, BadCertificate},
		{"P-224 still allowed", weakLeaf.Leaf, &wide, &wide, ""},
		{"a strong key", strongLeaf.Leaf, &wide, ours, ""},
		{"below a weak anchor that is no longer allowed", below(strongLeaf.Leaf), &weakWide, &weak, BadCertificate},
	} {
		p, err := tt.before.Verify([]*x509.Certificate{tt.leaf}, time.Now)
		if err != nil {
			t.Errorf("%s: before: %v", tt.name, err)
			continue
		}
		if got := p.Check(tt.before, now); got != "" {
			t.Errorf("%s: before: %q", tt.name, got)
		}
		if got := p.Find(tt.after, now); got.Reason != tt.want || (got.Detail == "") != (tt.want == "") {
			t.Errorf("%s: got %+v, want %q", tt.name, got, tt.want)
		}
		if got := p.Check(tt.before, now); got != "" {
			t.Errorf("%s: as before again: %q", tt.name, got)
		}
	}
	inter := ca.Intermediate(t, "intermediate", nil)
	both, err := NewBundle([]*x509.Certificate{ca.Cert, weakAnchor(ca.Cert)})
	must(t, err)
	under := Snapshot{Bundle: both}
	p, err := under.Verify([]*x509.Certificate{inter.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}).Leaf, inter.Cert, below(inter.Cert)}, time.Now)
	must(t, err)
	if n := len(p.anchor.Load().chains); n != 2 {
		t.Errorf("%d chains, want 2", n)
	}
	if got := p.Find(&under, now).Reason; got != "" {
		t.Errorf("one strong and one weak chain: got %q", got)
	}
	revokedStrong := Snapshot{Bundle: both, Revocation: revokedUnder{ca.Cert}}
	if got := p.Find(&revokedStrong, now).Reason; got != Revoked {
		t.Errorf("its one strong chain revoked: got %q, want %q", got, Revoked)
	}
}
