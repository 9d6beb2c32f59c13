package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"
)

// made describes a certificate that FuzzChain makes of two bytes. Names and keys are
// numbers below four; a certificate of issuer 2 with issuerKey 3 says that 2 issued it
// and is signed by the key 3.
type made struct {
	name, key, issuer, issuerKey byte
	san                          byte // 0: none
	ca, expired                  bool
}

func madeOf(a, b byte) made {
	return made{name: a & 3, key: a >> 2 & 3, san: a >> 4 & 3 % 3, ca: a&64 == 0, expired: a&128 != 0,
		issuer: b & 3, issuerKey: b >> 2 & 3}
}

// issuedBy reports whether issuer may have issued m.
func (m made) issuedBy(issuer made) bool {
	return m.issuer == issuer.name && m.issuerKey == issuer.key && issuer.ca && !issuer.expired
}

// chains reports whether path can be continued by certificates of sent, each once, to
// one of the anchors: the rule of RFC 5280, section 6, without crypto/x509.
func chains(path, sent, anchors []made) bool {
	leaf, last := path[0], path[len(path)-1]
	isIssuer := func(m made) bool {
		// crypto/x509 takes one with the leaf's name, key and SAN for the leaf.
		self := m.name == leaf.name && m.key == leaf.key && m.san == leaf.san
		return last.issuedBy(m) && !self && !slices.Contains(path, m)
	}
	return slices.ContainsFunc(anchors, isIssuer) || slices.ContainsFunc(sent, func(next made) bool {
		return isIssuer(next) && chains(append(slices.Clone(path), next), sent, anchors)
	})
}

// fuzzKeys are the same in every process.
var fuzzKeys = sync.OnceValue(func() (keys [4]*ecdsa.PrivateKey) {
	for i := range keys {
		sum := sha256.Sum256([]byte{byte(i)})
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), sum[:])
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

// forged keeps what certificate has made: making one takes longer than all the rest.
var forged sync.Map // made to *x509.Certificate

func (m made) certificate(t *testing.T) *x509.Certificate {
	if c, ok := forged.Load(m); ok {
		return c.(*x509.Certificate)
	}
	name := func(n byte) pkix.Name { return pkix.Name{CommonName: fmt.Sprint("name ", n)} }
	template := &x509.Certificate{Subject: name(m.name), SerialNumber: big.NewInt(int64(m.issuer)*4 + int64(m.issuerKey) + 1),
		NotBefore: fuzzTime.Add(-time.Hour), NotAfter: fuzzTime.Add(time.Hour), IsCA: m.ca, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if m.expired {
		template.NotAfter = fuzzTime.Add(-time.Minute)
	}
	if m.san > 0 {
		template.DNSNames = []string{fmt.Sprint("n", m.san)}
	}
	keys := fuzzKeys()
	c := signedWith(t, template, &x509.Certificate{Subject: name(m.issuer)}, keys[m.key].Public(), crypto.Signer(keys[m.issuerKey]))
	forged.Store(m, c)
	return c
}

// FuzzChain has four names and four keys certify each other in every way, and presents
// that to a bundle. Who gets in, and nobody else, has a chain by the rule of RFC 5280 in a
// second, simple reading; those that are refused for the ways in which their certificates
// can be ordered do not count. What is not refused for it is verified by no more
// signatures than it is counted for.
//
// Holds: stranger/signature-count
func FuzzChain(f *testing.F) {
	const leaf, anchor = 64, 128
	for _, seed := range [][]byte{
		{leaf, 1, 0, anchor}, // another name than the anchor's
		{leaf | 1, 0, 0, anchor},
		{leaf | 1, 2, 2, 0, 0, anchor},
		{leaf | 1, 2, 2, 2, 2 | 16, 2, 2 | 32, 2, 2, 3, 0, anchor},
		{leaf | 128 | 1, 0, 0, anchor},
		{leaf | 1, 2, 2 | 128, 0, 2 | 16, 0, 0, anchor},
		{leaf | 1, 2, 2, 0, 2 | 4, 0, 2 | 8, 0, 2 | 12, 0, 0, anchor, 4, anchor | 4},
		bytes.Repeat([]byte{2, 2, 2 | 16, 2}, 5),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		var sent, anchors []made
		var bundled []*x509.Certificate
		for len(program) >= 2 && len(sent) <= MaxChain && len(anchors) < 8 {
			m := madeOf(program[0], program[1])
			if program[1]&anchor != 0 {
				anchors, bundled = append(anchors, m), append(bundled, m.certificate(t))
			} else {
				sent = append(sent, m)
			}
			program = program[2:]
		}
		bundle, err := NewBundle(bundled)
		if err != nil || len(sent) == 0 {
			return
		}
		var certs []*x509.Certificate
		for _, m := range sent {
			certs = append(certs, m.certificate(t))
		}
		s := &Snapshot{Bundle: bundle}
		_, err = s.Verify(certs, func() time.Time { return fuzzTime })
		refused, _ := errors.AsType[*RefusedError](err)
		if refused != nil && refused.Reason == BadCertificate {
			return // too many certificates, or ways to order them
		}
		want := !sent[0].expired && !sent[0].ca &&
			(slices.Contains(anchors, sent[0]) || chains(sent[:1], sent[1:], anchors))
		if got := err == nil; got != want {
			t.Errorf("verified %t (%v), want %t, for %+v below %+v", got, err, want, sent, anchors)
		}
		if checks, bound := signaturesChecked(certs, bundle.certs), s.signatureBound(certs); checks > bound {
			t.Errorf("%d signatures checked, want at most %d, for %+v below %+v", checks, bound, sent, anchors)
		}
	})
}

// signatureBound is the most signatures that may be checked for what CheckSent takes.
func (s *Snapshot) signatureBound(sent []*x509.Certificate) int {
	bound, anchors := maxSearch, s.Bundle.issuersOf(sent)
	for _, c := range sent {
		bound = max(bound, maxSearch+2*anchors.cost(c.RawIssuer).checks)
	}
	return bound
}

// signaturesChecked counts the signatures that crypto/x509 checks for a chain.
func signaturesChecked(sent, anchors []*x509.Certificate) (checks int) {
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: fuzzTime,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	copies := counted(sent, &checks)
	for _, c := range copies[1:] {
		opts.Intermediates.AddCert(c)
	}
	for _, c := range counted(anchors, &checks) {
		opts.Roots.AddCert(c)
	}
	copies[0].Verify(opts)
	return checks
}
