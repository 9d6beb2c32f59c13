package inspect_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/sangate/sangate/pki/inspect"
	"github.com/sangate/sangate/pki/pkitest"
)

func TestPEMDescribes(t *testing.T) {
	ca := pkitest.NewCA(t, "ca")
	inter := ca.Intermediate(t, "intermediate", nil)
	cert := inter.Issue(t, pkitest.Leaf{
		CommonName: "bot\nof \u202eacme", UPNs: []string{"x@y"}, Emails: []string{"Bot@Acme.example"},
		URIs: []string{"spiffe://example.org/a%61"}, DNS: []string{"a.example", "b\x1b[31m\x00.example"}, IPs: []string{"10.0.0.1", "2001:db8::1"},
	})
	report, err := inspect.PEM(context.Background(), append(cert.CertPEM(), ca.PEM()...), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Certificates) != 3 || len(report.Problems) != 0 {
		t.Fatalf("%+v", report)
	}
	leaf, second, root := report.Certificates[0], report.Certificates[1], report.Certificates[2]
	whole, spki := sha256.Sum256(cert.Leaf.Raw), sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo)
	for _, check := range []struct{ name, got, want string }{
		{"subject", leaf.Subject, `CN=bot\x0aof \u{202e}acme`},
		{"issuer", leaf.Issuer, "CN=intermediate"},
		{"serial", leaf.Serial, hex.EncodeToString(cert.Leaf.SerialNumber.Bytes())},
		{"uri as it stands", fmt.Sprint(leaf.SANs.URI), "[spiffe://example.org/a%61]"},
		{"dns", fmt.Sprint(leaf.SANs.DNS), `[a.example b\x1b[31m\x00.example]`},
		{"email", fmt.Sprint(leaf.SANs.Email), "[Bot@Acme.example]"},
		{"ip", fmt.Sprint(leaf.SANs.IP), "[10.0.0.1 2001:db8::1]"},
		{"other", fmt.Sprint(leaf.SANs.Other), "1"},
		{"key", fmt.Sprint(leaf.Key), "{ECDSA 256 P-256}"},
		{"usages", fmt.Sprint(leaf.KeyUsages, leaf.ExtKeyUsages), "[digitalSignature] [clientAuth serverAuth]"},
		{"CA's usages", fmt.Sprint(second.KeyUsages, second.ExtKeyUsages), "[keyCertSign cRLSign] []"},
		{"signature", leaf.SignatureAlgorithm, "ECDSA-SHA256"},
		{"fingerprint", leaf.Fingerprints.SHA256, hex.EncodeToString(whole[:])},
		{"of the key", leaf.Fingerprints.SPKISHA256, hex.EncodeToString(spki[:])},
		{"root", root.Subject, "CN=ca"},
		{"CAs", fmt.Sprint(leaf.IsCA, second.IsCA, root.IsCA), "false true true"},
		{"dates", fmt.Sprint(leaf.NotBefore, leaf.NotAfter), fmt.Sprint(cert.Leaf.NotBefore, cert.Leaf.NotAfter)},
	} {
		if check.got != check.want {
			t.Errorf("%s: got %s, want %s", check.name, check.got, check.want)
		}
	}
	out, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"certificates"`, `"notBefore"`, `"keyUsages"`, `"extKeyUsages":[]`, `"isCA"`, `"spkiSha256"`, `"signatureAlgorithm"`, `"problems":[]`} {
		if !bytes.Contains(out, []byte(field)) {
			t.Errorf("no %s in %s", field, out)
		}
	}
}

func TestPEMProblems(t *testing.T) {
	ca := pkitest.NewCA(t, "ca")
	inter := ca.Intermediate(t, "intermediate", nil)
	stranger := pkitest.NewCA(t, "ca") // the same name, another key
	now := time.Now().Truncate(time.Second)
	rsaKey := func(bits int) *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dns := []string{"a.example"}
	of := func(l pkitest.Leaf) []byte { return ca.Issue(t, l).CertPEM() }
	life := func(from, to time.Duration) []byte {
		return of(pkitest.Leaf{DNS: dns, NotBefore: now.Add(from), NotAfter: now.Add(to)})
	}
	good := ca.Issue(t, pkitest.Leaf{DNS: dns})
	below := inter.Issue(t, pkitest.Leaf{DNS: dns})
	tests := []struct {
		name  string
		input []byte
		want  [][]inspect.Code // of each certificate
	}{
		{"good", good.CertPEM(), [][]inspect.Code{{}}},
		{"good chain", append(below.CertPEM(), ca.PEM()...), [][]inspect.Code{{}, {}, {}}},
		{"DER", good.Leaf.Raw, [][]inspect.Code{{}}},
		{"expired", life(-2*time.Hour, -time.Hour), [][]inspect.Code{{inspect.Expired}}},
		{"not yet valid", life(time.Hour, 2*time.Hour), [][]inspect.Code{{inspect.NotYetValid}}},
		{"a third left", life(-2*time.Hour, time.Hour), [][]inspect.Code{{}}},
		{"less than a third left", life(-2*time.Hour, time.Hour-time.Second), [][]inspect.Code{{inspect.ExpiresSoon}}},
		{"server's only", of(pkitest.Leaf{DNS: dns, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}), [][]inspect.Code{{inspect.WrongUsage}}},
		{"no usage", of(pkitest.Leaf{DNS: dns, NoExtKeyUsage: true}), [][]inspect.Code{{inspect.WrongUsage}}},
		{"may sign", of(pkitest.Leaf{DNS: dns, KeyUsage: x509.KeyUsageCRLSign}), [][]inspect.Code{{inspect.WrongUsage}}},
		{"CA as leaf", ca.PEM(), [][]inspect.Code{{inspect.CAAsLeaf}}},
		{"two roots", append(ca.PEM(), stranger.PEM()...), [][]inspect.Code{{inspect.CAAsLeaf}, {}}},
		{"no name", of(pkitest.Leaf{CommonName: "acme"}), [][]inspect.Code{{inspect.SANMissing}}},
		{"bad name", of(pkitest.Leaf{DNS: []string{"*.example"}}), [][]inspect.Code{{inspect.SANInvalid}}},
		{"RSA 1024", of(pkitest.Leaf{DNS: dns, Key: rsaKey(1024)}), [][]inspect.Code{{inspect.WeakKey}}},
		{"RSA 2048", of(pkitest.Leaf{DNS: dns, Key: rsaKey(2048)}), [][]inspect.Code{{}}},
		{"P-224", of(pkitest.Leaf{DNS: dns, Key: p224}), [][]inspect.Code{{inspect.WeakKey}}},
		{"Ed25519", of(pkitest.Leaf{DNS: dns, Key: ed}), [][]inspect.Code{{}}},
		{"SHA-1", of(pkitest.Leaf{DNS: dns, SignatureAlgorithm: x509.ECDSAWithSHA1}), [][]inspect.Code{{inspect.WeakSignature}}},
		{"SHA-1 and its issuer", append(of(pkitest.Leaf{DNS: dns, SignatureAlgorithm: x509.ECDSAWithSHA1}), ca.PEM()...), [][]inspect.Code{{inspect.WeakSignature}, {}}},
		{"issuer missing between", append(below.CertPEM()[:len(below.CertPEM())-len(inter.PEM())], ca.PEM()...), [][]inspect.Code{{inspect.ChainBroken}, {}}},
		{"issuer of the same name", append(good.CertPEM(), stranger.PEM()...), [][]inspect.Code{{inspect.ChainBroken}, {}}},
		{"leaf as issuer", append(good.CertPEM(), good.CertPEM()...), [][]inspect.Code{{inspect.ChainBroken}, {}}},
		{"wrong order", append(inter.PEM(), good.CertPEM()...), [][]inspect.Code{{inspect.CAAsLeaf, inspect.ChainBroken}, {}}},
		{"several", of(pkitest.Leaf{NoExtKeyUsage: true, Key: p224, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}),
			[][]inspect.Code{{inspect.Expired, inspect.WrongUsage, inspect.SANMissing, inspect.WeakKey}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			report, err := inspect.PEM(context.Background(), tt.input, now)
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Certificates) != len(tt.want) || len(report.Problems) != 0 {
				t.Fatalf("%d certificates, problems %v", len(report.Certificates), report.Problems)
			}
			for i, c := range report.Certificates {
				codes := []inspect.Code{}
				for _, p := range c.Problems {
					codes = append(codes, p.Code)
					if !strings.HasSuffix(p.Message, ".") {
						t.Errorf("%s: not a sentence: %q", p.Code, p.Message)
					}
				}
				if !slices.Equal(codes, tt.want[i]) {
					t.Errorf("certificate %d: got %v, want %v", i, c.Problems, tt.want[i])
				}
			}
		})
	}
}

func TestPEMNeverEchoesKeys(t *testing.T) {
	cert := pkitest.NewCA(t, "ca").Issue(t, pkitest.Leaf{DNS: []string{"a.example"}})
	key := cert.KeyPEM(t)
	block, _ := pem.Decode(key)
	secret := strings.Split(string(key), "\n")[1]
	for name, tt := range map[string]struct {
		input []byte
		certs int
	}{
		"before":     {append(slices.Clone(key), cert.CertPEM()...), 1},
		"behind":     {append(cert.CertPEM(), key...), 1},
		"cut off":    {append(cert.CertPEM(), key[:len(key)/2]...), 1},
		"alone":      {key, 0},
		"in a block": {pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: block.Bytes}), 0},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := inspect.PEM(context.Background(), tt.input, time.Now())
			if err != nil || len(report.Certificates) != tt.certs {
				t.Fatalf("%d certificates, %v", len(report.Certificates), err)
			}
			if len(report.Problems) != 1 || report.Problems[0].Code != inspect.PrivateKeyInInput {
				t.Errorf("problems %v", report.Problems)
			}
			if out, _ := json.Marshal(report); bytes.Contains(out, []byte(secret)) {
				t.Error("the key is in the report")
			}
		})
	}
	for name, input := range map[string][]byte{
		"key as certificate":     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}),
		"key in DER":             block.Bytes,
		"certificate inside key": append(key[:len(key)-30], cert.CertPEM()[:100]...),
	} {
		report, err := inspect.PEM(context.Background(), input, time.Now())
		if err == nil || len(report.Certificates) != 0 || strings.Contains(err.Error(), secret[:16]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPEMBounds(t *testing.T) {
	cert := pkitest.NewCA(t, "ca").Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}).CertPEM()
	dns := make([]string, 1000)
	for i := range dns {
		dns[i] = fmt.Sprintf("a%d.example", i)
	}
	for name, tt := range map[string]struct {
		input []byte
		want  error
	}{
		"nothing":         {nil, inspect.ErrNoCertificate},
		"no certificate":  {[]byte("hello"), inspect.ErrNoCertificate},
		"a public key":    {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}), inspect.ErrNoCertificate},
		"32 certificates": {bytes.Repeat(cert, inspect.MaxCertificates), nil},
		"33 certificates": {bytes.Repeat(cert, inspect.MaxCertificates+1), inspect.ErrTooMany},
		"1 MiB":           {append(slices.Clone(cert), bytes.Repeat([]byte("\n"), inspect.MaxBytes-len(cert))...), nil},
		"1 MiB and one":   {append(slices.Clone(cert), bytes.Repeat([]byte("\n"), inspect.MaxBytes-len(cert)+1)...), inspect.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := inspect.PEM(context.Background(), tt.input, time.Now()); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := inspect.PEM(context.Background(), append(slices.Clone(cert), cert[:200]...), time.Now()); err == nil || !strings.Contains(err.Error(), "certificate 2") {
		t.Errorf("cut off: %v", err)
	}
	many := pkitest.NewCA(t, "ca").Issue(t, pkitest.Leaf{DNS: dns, CommonName: strings.Repeat("a", 5000)})
	report, err := inspect.PEM(context.Background(), many.CertPEM(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if c := report.Certificates[0]; len(c.SANs.DNS) != 256 || c.SANs.Omitted != 744 || len(c.Subject) > 2100 {
		t.Errorf("%d names, %d omitted, subject of %d bytes", len(c.SANs.DNS), c.SANs.Omitted, len(c.Subject))
	}
}

func FuzzPEM(f *testing.F) {
	ca := pkitest.NewCA(f, "ca")
	cert := ca.Issue(f, pkitest.Leaf{CommonName: "x", DNS: []string{"a.example"}, URIs: []string{"spiffe://example.org/a"}})
	f.Add(cert.Leaf.Raw)
	f.Add(append(cert.CertPEM(), cert.KeyPEM(f)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := inspect.PEM(context.Background(), data, time.Unix(1_800_000_000, 0))
		if err != nil && strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Fatalf("control character in %q", err.Error())
		}
		out, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range report.Certificates {
			names := slices.Concat(c.SANs.URI, c.SANs.DNS, c.SANs.Email, c.SANs.IP, []string{c.Subject, c.Issuer})
			if strings.ContainsFunc(strings.Join(names, ""), unicode.IsControl) {
				t.Fatalf("control character in %s", out)
			}
		}
	})
}
