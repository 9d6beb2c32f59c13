package pki

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// fuzzCA is an authority with a fixed key, so that inputs stay good in every process.
type fuzzCA struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

var fuzzTime = time.Unix(1_800_000_000, 0)

func newFuzzCA(f *testing.F) *fuzzCA {
	ca := &fuzzCA{key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))}
	ca.cert = ca.issue(f, &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return ca
}

func (ca *fuzzCA) issue(f *testing.F, template *x509.Certificate) *x509.Certificate {
	template.SerialNumber = big.NewInt(7)
	template.NotBefore, template.NotAfter = fuzzTime.Add(-time.Hour), fuzzTime.Add(time.Hour)
	parent := ca.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, ca.key.Public(), ca.key)
	if err != nil {
		f.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		f.Fatal(err)
	}
	return cert
}

// sign makes the certificate of what is to be signed.
func (ca *fuzzCA) sign(tbs []byte) []byte {
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 101, 112}},
		asn1.BitString{Bytes: ed25519.Sign(ca.key, tbs), BitLength: 8 * ed25519.SignatureSize}})
	if err != nil {
		return nil
	}
	return der
}

// FuzzIssued signs whatever it gets, as an authority does that a client has talked
// into it. What passes is a client's leaf inside its dates, under a chain that
// crypto/x509 verifies by itself, and its names are those that crypto/x509 reads.
//
// Holds: client/certificate-from-careless-authority
func FuzzIssued(f *testing.F) {
	ca := newFuzzCA(f)
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	spiffe, _ := url.Parse("spiffe://example.org/tenant/acme/agent")
	for _, template := range []*x509.Certificate{
		{URIs: []*url.URL{spiffe}, ExtKeyUsage: client, KeyUsage: x509.KeyUsageDigitalSignature},
		{DNSNames: []string{"a.example", "B.example"}, EmailAddresses: []string{"bot@acme.example"}, ExtKeyUsage: client},
		{DNSNames: []string{"*.example"}, ExtKeyUsage: client},
		{DNSNames: []string{"a.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		{DNSNames: []string{"a.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}},
		{DNSNames: []string{"a.example"}},
		{URIs: []*url.URL{spiffe, spiffe}, ExtKeyUsage: client},
		{Subject: pkix.Name{CommonName: "acme"}, ExtKeyUsage: client},
		{DNSNames: []string{"a.example"}, ExtKeyUsage: client, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign},
		{DNSNames: slices.Repeat([]string{"a.example"}, MaxSANs+1), ExtKeyUsage: client},
		{DNSNames: []string{"a.example"}, ExtKeyUsage: client, ExtraExtensions: []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true}}},
	} {
		f.Add(ca.issue(f, template).RawTBSCertificate)
	}
	bundle, err := NewBundle([]*x509.Certificate{ca.cert})
	if err != nil {
		f.Fatal(err)
	}
	snapshot := &Snapshot{Bundle: bundle}
	f.Fuzz(func(t *testing.T, tbs []byte) {
		leaf, err := x509.ParseCertificate(ca.sign(tbs))
		if err != nil {
			return
		}
		peer, err := snapshot.Verify([]*x509.Certificate{leaf}, func() time.Time { return fuzzTime })
		if err != nil {
			refused, ok := errors.AsType[*RefusedError](err)
			if !ok || !slices.Contains(HandshakeReasons(), refused.Reason) {
				t.Fatalf("refused by %v", err)
			}
			return
		}
		chains, err := leaf.Verify(x509.VerifyOptions{Roots: bundle.pool, CurrentTime: fuzzTime, KeyUsages: client})
		if err != nil || len(chains) == 0 || leaf.IsCA || leaf.Version != 3 || len(leaf.UnhandledCriticalExtensions) > 0 ||
			leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 || !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
			t.Fatalf("accepted %+v: %v", leaf, err)
		}
		checkNames(t, leaf, peer)
	})
}

// checkNames holds the names of a leaf against those that crypto/x509 reads.
func checkNames(t *testing.T, leaf *x509.Certificate, peer *Peer) {
	id, err := ParseIdentity(leaf)
	if err != nil {
		return // refused at the request
	}
	if peer.Identity.Name() != id.Name() {
		t.Errorf("two identities for one certificate: %q and %q", peer.Identity.Name(), id.Name())
	}
	var want []string
	for _, u := range leaf.URIs {
		want = append(want, "uri:"+u.String())
	}
	for _, n := range leaf.DNSNames {
		want = append(want, "dns:"+strings.ToLower(n))
	}
	for _, n := range leaf.EmailAddresses {
		local, domain, _ := strings.Cut(n, "@")
		want = append(want, "email:"+local+"@"+strings.ToLower(domain))
	}
	for _, a := range leaf.IPAddresses {
		want = append(want, "ip:"+a.String())
	}
	var got []string
	for _, s := range id.SANs {
		got = append(got, s.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("names %q, crypto/x509 reads %q", got, want)
	}
	for i, s := range id.SANs {
		if id.Key(i) != s.String() || peer.Identity.Key(i) != id.Key(i) {
			t.Errorf("Key(%d) = %q and %q, want %q", i, id.Key(i), peer.Identity.Key(i), s)
		}
	}
}

// FuzzCertificateMessage reads the list of certificates of a TLS 1.3 Certificate message
// (RFC 8446, section 4.4.2) as crypto/tls does, and verifies it. The refusal is of a reason
// that is counted, its text is short, and the names of the leaf are rendered short, too.
// What passes passes crypto/x509.
//
// Holds: stranger/certificate-size
func FuzzCertificateMessage(f *testing.F) {
	ca := newFuzzCA(f)
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	leaf := ca.issue(f, &x509.Certificate{DNSNames: []string{"a.example"}, ExtKeyUsage: client})
	below := ca.issue(f, &x509.Certificate{Subject: pkix.Name{CommonName: "below"}, IsCA: true, BasicConstraintsValid: true})
	fat := ca.issue(f, &x509.Certificate{DNSNames: slices.Repeat([]string{"a.example"}, MaxSANs+1), ExtKeyUsage: client})
	for _, certs := range [][]*x509.Certificate{{leaf}, {leaf, ca.cert}, {leaf, below, ca.cert}, {fat}, {ca.cert},
		slices.Repeat([]*x509.Certificate{leaf}, MaxChain+1)} {
		var message []byte
		for _, c := range certs {
			message = append(message, byte(len(c.Raw)>>16), byte(len(c.Raw)>>8), byte(len(c.Raw)))
			message = append(append(message, c.Raw...), 0, 0) // no extensions
		}
		f.Add(message)
	}
	bundle, err := NewBundle([]*x509.Certificate{ca.cert})
	if err != nil {
		f.Fatal(err)
	}
	snapshot := &Snapshot{Bundle: bundle}
	f.Fuzz(func(t *testing.T, message []byte) {
		var sent []*x509.Certificate
		for list := cryptobyte.String(message); !list.Empty(); {
			var der, extensions cryptobyte.String
			if !list.ReadUint24LengthPrefixed(&der) || !list.ReadUint16LengthPrefixed(&extensions) {
				return
			}
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return
			}
			sent = append(sent, c)
		}
		if len(sent) == 0 {
			return
		}
		if text := NameText(sent[0].Subject); len(text) > 2*maxNameText {
			t.Errorf("a subject of %d bytes is rendered as %d", len(sent[0].RawSubject), len(text))
		}
		_, err := snapshot.Verify(sent, func() time.Time { return fuzzTime })
		if err != nil {
			refused, ok := errors.AsType[*RefusedError](err)
			if !ok || !slices.Contains(HandshakeReasons(), refused.Reason) || len(err.Error()) > 2*maxNameText {
				t.Fatalf("refused by %d bytes: %v", len(err.Error()), err)
			}
			return
		}
		opts := x509.VerifyOptions{Roots: bundle.pool, Intermediates: x509.NewCertPool(), CurrentTime: fuzzTime, KeyUsages: client}
		for _, c := range sent[1:] {
			opts.Intermediates.AddCert(c)
		}
		if _, err := sent[0].Verify(opts); err != nil || len(sent) > MaxChain || sent[0].IsCA {
			t.Fatalf("accepted %d certificates: %v", len(sent), err)
		}
	})
}

// FuzzPEM checks that a file of certificates is read whole or not at all: as many
// certificates as it has begun, and the same again if they are written anew.
//
// Holds: operator/torn-file
func FuzzPEM(f *testing.F) {
	ca := newFuzzCA(f)
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})
	for _, data := range [][]byte{one, slices.Concat(one, one), one[:len(one)-10], slices.Concat(one, one[:40]), slices.Concat([]byte("# comment\n"), one), slices.Concat(one, key), ca.cert.Raw,
		bytes.ReplaceAll(one, []byte("\n"), []byte("\r\n")), bytes.ReplaceAll(one, []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE")), nil, []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := parseCertificates(data)
		if err != nil {
			return
		}
		if len(certs) == 0 {
			t.Fatal("neither certificates nor an error")
		}
		if begun := bytes.Count(data, []byte("-----BEGIN CERTIFICATE-----")); begun != len(certs) && bytes.Contains(data, []byte("-----BEGIN")) {
			t.Fatalf("%d certificates of %d", len(certs), begun)
		}
		var again []byte
		for _, c := range certs {
			again = append(again, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
		same, err := parseCertificates(again)
		if err != nil || !slices.EqualFunc(same, certs, (*x509.Certificate).Equal) {
			t.Errorf("%d certificates, written anew %d, %v", len(certs), len(same), err)
		}
	})
}
