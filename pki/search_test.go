package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// countingCurve counts the signatures that are checked on it.
type countingCurve struct {
	elliptic.Curve
	params *elliptic.CurveParams // another pointer, so that crypto/ecdsa calls ScalarMult
	checks *int
}

func (c countingCurve) Params() *elliptic.CurveParams { return c.params }

func (c countingCurve) ScalarMult(x, y *big.Int, k []byte) (*big.Int, *big.Int) {
	*c.checks++
	return c.Curve.ScalarMult(x, y, k) //lint:ignore SA1019 crypto/ecdsa calls it for a curve that is not its own
}

// counted returns copies whose keys count the checks of signatures by them.
func counted(certs []*x509.Certificate, checks *int) (out []*x509.Certificate) {
	for _, c := range certs {
		c := new(*c)
		key := *c.PublicKey.(*ecdsa.PublicKey)
		key.Curve = countingCurve{Curve: key.Curve, params: new(*key.Curve.Params()), checks: checks}
		c.PublicKey = &key
		out = append(out, c)
	}
	return out
}

// TestSignatureChecksAreBounded counts the signatures that crypto/x509 checks for
// chains that CheckSent takes: n certificates that have all signed each other, below
// anchors of their name. Those that it refuses would have taken many more.
//
// Holds: stranger/signature-count
func TestSignatureChecksAreBounded(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	serial := int64(0)
	made := func(subject string, ca bool) *x509.Certificate {
		serial++
		return signedWith(t, &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: subject},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: ca, BasicConstraintsValid: ca,
			DNSNames: []string{fmt.Sprint("n", serial)}}, // or crypto/x509 takes them for the same
			&x509.Certificate{Subject: pkix.Name{CommonName: "x"}, SerialNumber: big.NewInt(1)}, key.Public(), key)
	}
	refused := 0
	for anchors := range 4 {
		var roots []*x509.Certificate
		for range anchors {
			roots = append(roots, pkitest.NewCA(t, "x").Cert)
		}
		bundle, err := NewBundle(append(roots, pkitest.NewCA(t, "other").Cert))
		must(t, err)
		for n := range MaxChain {
			sent := []*x509.Certificate{made("leaf", false)}
			for range n {
				sent = append(sent, made("x", true))
			}
			err := (&Snapshot{Bundle: bundle}).CheckSent(sent)
			checks := 0
			opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
			copies := counted(append(sent, roots...), &checks)
			for i, c := range copies[1:] {
				if i < n {
					opts.Intermediates.AddCert(c)
				} else {
					opts.Roots.AddCert(c)
				}
			}
			if _, err := copies[0].Verify(opts); err == nil {
				t.Fatal("verified")
			}
			what := fmt.Sprintf("%d certificates below %d anchors", n, anchors)
			switch bound := maxSearch + 2*anchors; {
			case err == nil && checks > bound:
				t.Errorf("%s: %d signatures checked, want at most %d", what, checks, bound)
			case err == nil && checks < n+anchors:
				t.Errorf("%s: %d signatures counted, want at least %d", what, checks, n+anchors)
			case err != nil && n < 2:
				t.Errorf("%s: %v", what, err)
			case err != nil && checks <= bound:
				t.Errorf("%s: refused, although only %d signatures are checked", what, checks)
			case err != nil:
				refused++
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// TestLoopsAreCounted: of certificates of one name and key, some with a SAN and some
// without, crypto/x509 takes the same one again and again.
//
// Holds: stranger/signature-count
func TestLoopsAreCounted(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	bundle, err := NewBundle([]*x509.Certificate{pkitest.NewCA(t, "other").Cert})
	must(t, err)
	s := &Snapshot{Bundle: bundle}
	x := &x509.Certificate{Subject: pkix.Name{CommonName: "x"}, SerialNumber: big.NewInt(1)}
	sans := [][]string{nil, {"a"}, {"b"}}
	refused, most := 0, 0
	for kinds := range 3 * 3 * 3 * 3 * 3 {
		var sent []*x509.Certificate
		for n := range MaxChain {
			template := &x509.Certificate{SerialNumber: big.NewInt(int64(n)), Subject: x.Subject, NotBefore: time.Now().Add(-time.Hour),
				NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
			if n == 0 {
				template.Subject.CommonName, template.IsCA = "leaf", false
			} else {
				template.DNSNames = sans[kinds%3]
				kinds /= 3
			}
			sent = append(sent, signedWith(t, template, x, key.Public(), key))
			if n == 0 {
				continue
			}
			refusal := s.CheckSent(sent)
			if refusal != nil {
				refused++
				break
			}
			checks := 0
			opts := x509.VerifyOptions{Roots: s.Bundle.pool, Intermediates: x509.NewCertPool()}
			copies := counted(sent, &checks)
			for _, c := range copies[1:] {
				opts.Intermediates.AddCert(c)
			}
			if _, err := copies[0].Verify(opts); err == nil {
				t.Fatal("verified")
			}
			if most = max(most, checks); checks > maxSearch {
				t.Fatalf("%d certificates: %d signatures checked, want at most %d", n, checks, maxSearch)
			}
		}
	}
	if refused == 0 || most < 2 {
		t.Errorf("%d refused, at most %d signatures checked", refused, most)
	}
}

// TestServerConfigLeavesChainsToUs: crypto/tls itself verifies no client's chain, so
// that the bounds of CheckSent hold for every handshake.
func TestServerConfigLeavesChainsToUs(t *testing.T) {
	ca := pkitest.NewCA(t, "clients")
	if got := snapshotOf(t, ca, ca).ServerConfig(TLSOptions{}).ClientAuth; got != tls.RequireAnyClientCert {
		t.Errorf("client authentication %v, want %v", got, tls.RequireAnyClientCert)
	}
}
