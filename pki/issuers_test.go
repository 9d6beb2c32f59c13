package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

// dated are the fields that each certificate of these tests has.
func dated(subject string, serial int, ca bool) *x509.Certificate {
	c := &x509.Certificate{SerialNumber: big.NewInt(int64(serial + 1)), Subject: pkix.Name{CommonName: subject},
		NotBefore: time.Now().Add(time.Duration(serial-1000) * time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true}
	if ca {
		c.KeyUsage = x509.KeyUsageCertSign
	} else {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	return c
}

// A rotated root is one of many of one name.
type rotated struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// rotations makes n roots on P-521 that are all called root, the oldest first.
func rotations(t *testing.T, n int) (roots []rotated, certs []*x509.Certificate) {
	t.Helper()
	for i := range n {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		must(t, err)
		template := dated("root", i, true)
		c := signedWith(t, template, template, key.Public(), key)
		roots, certs = append(roots, rotated{c, key}), append(certs, c)
	}
	return roots, certs
}

// TestManyAnchorsOfOneNameAreBounded: an operator's bundle has 20 roots on P-521 with
// one name. A stranger's chain has few signatures checked by them, whatever key
// identifiers it names, while the clients of each root get in.
//
// Holds: stranger/anchor-count
func TestManyAnchorsOfOneNameAreBounded(t *testing.T) {
	roots, certs := rotations(t, 20)
	client, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	checks := 0
	bundle, err := NewBundle(counted(certs, &checks))
	must(t, err)
	counting := &Snapshot{Bundle: bundle}
	bundle, err = NewBundle(certs)
	must(t, err)
	s := &Snapshot{Bundle: bundle}

	const most = 7 // of some 1.7 ms each
	for n := range MaxChain {
		for name, id := range map[string]func(i int) []byte{
			"no key identifier":           func(int) []byte { return nil },
			"an unknown key identifier":   func(int) []byte { return []byte("unknown") },
			"an anchor's key identifier":  func(int) []byte { return certs[7].SubjectKeyId },
			"a key identifier of another": func(i int) []byte { return certs[i].SubjectKeyId },
		} {
			sent := []*x509.Certificate{}
			for i := range n + 1 { // each issued by "root", all but the leaf are called so, too
				template := dated("root", i, i > 0)
				if i == 0 {
					template.Subject.CommonName = "leaf"
				}
				parent := dated("root", 0, true)
				parent.SubjectKeyId = id(i)
				sent = append(sent, signedWith(t, template, parent, client.Public(), client))
			}
			checks = 0
			_, err := counting.Verify(sent, time.Now)
			if err == nil {
				t.Fatalf("%s: verified", name)
			}
			if checks > most {
				t.Errorf("%d certificates of one name with %s: %d signatures checked by anchors, want at most %d", n+1, name, checks, most)
			}
		}
	}

	for i, root := range roots {
		leaf := signedWith(t, dated("leaf", i, false), root.cert, client.Public(), root.key)
		intermediate := signedWith(t, dated("below", i, true), root.cert, client.Public(), root.key)
		below := signedWith(t, dated("leaf", i, false), intermediate, client.Public(), client)
		for name, sent := range map[string][]*x509.Certificate{
			"leaf":                            {leaf},
			"leaf and root":                   {leaf, root.cert},
			"leaf, intermediate":              {below, intermediate},
			"leaf, intermediate and root":     {below, intermediate, root.cert},
			"leaf, intermediate, wrong roots": {below, intermediate, certs[(i+1)%20], certs[(i+2)%20]},
		} {
			p, err := s.verifyKnown(sent, time.Now)
			if err != nil {
				t.Errorf("client of root %d, %s: %v", i, name, err)
				continue
			}
			again, err := NewBundle(certs[:i+1])
			must(t, err)
			if found := p.Find(&Snapshot{Bundle: again}, time.Now()); found.Reason != "" {
				t.Errorf("client of root %d, %s, after a reload: %s", i, name, found.Reason)
			}
		}
	}
}

// TestAnchorsWithoutKeyIdentifiers: of many roots of one name without a key
// identifier the newest are tried. The clients of a few roots get in all the same.
func TestAnchorsWithoutKeyIdentifiers(t *testing.T) {
	roots, certs := rotations(t, 20)
	for i, c := range certs {
		c := new(*c)
		c.SubjectKeyId = nil // as from a CA that is older than RFC 3280
		certs[i], roots[i].cert = c, c
	}
	client, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	warned := func(certs []*x509.Certificate) bool {
		bundle, err := NewBundle(certs)
		must(t, err)
		return strings.Contains(strings.Join(Files{}.Warnings(&Snapshot{Bundle: bundle}, time.Now()), "\n"), `20 client CAs named "CN=root"`)
	}
	if _, marked := rotations(t, 20); !warned(certs) || warned(marked) {
		t.Errorf("warned of roots without a key identifier: %t, of roots with one: %t", warned(certs), warned(marked))
	}
	for _, tt := range []struct {
		bundle []*x509.Certificate
		root   int
		ok     bool
	}{{certs, 19, true}, {certs, 17, true}, {certs, 3, false}, {certs[:3], 0, true}, {certs[:3], 2, true}} {
		bundle, err := NewBundle(tt.bundle)
		must(t, err)
		leaf := signedWith(t, dated("leaf", 0, false), roots[tt.root].cert, client.Public(), roots[tt.root].key)
		_, err = (&Snapshot{Bundle: bundle}).Verify([]*x509.Certificate{leaf}, time.Now)
		if (err == nil) != tt.ok {
			t.Errorf("client of root %d of %d: %v", tt.root, len(tt.bundle), err)
		}
		if refused, ok := errors.AsType[*RefusedError](err); !tt.ok && (!ok || refused.Reason != Untrusted) {
			t.Errorf("client of root %d of %d: got %v, want %s", tt.root, len(tt.bundle), err, Untrusted)
		}
	}
}
