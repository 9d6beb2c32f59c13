package pki_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/pkitest"
)

// TestWeakAnchorsNamed: a client CA with a weak key is named, unless its kind is allowed.
func TestWeakAnchorsNamed(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	old, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := pki.NewBundle([]*x509.Certificate{pkitest.NewCA(t, "new").Cert, old})
	if err != nil {
		t.Fatal(err)
	}
	s := pki.Snapshot{Bundle: bundle}
	if got := (pki.Files{}).Warnings(&s, time.Now()); len(got) != 1 || !strings.Contains(got[0], `"CN=old" has an RSA key of 1024 bits`) {
		t.Errorf("got %q, want one that names the CA and its key", got)
	}
	s.WeakKeys = []pki.WeakKey{pki.RSA1024}
	if got := (pki.Files{}).Warnings(&s, time.Now()); len(got) > 0 {
		t.Errorf("allowed: %q", got)
	}
}

func TestWarnings(t *testing.T) {
	now := time.Now()
	good := pkitest.Leaf{DNS: []string{"gate.internal"}}
	tests := []struct {
		name string
		leaf pkitest.Leaf
		mode os.FileMode
		at   time.Time
		want string // "": none
	}{
		{"good", good, 0o600, now, ""},
		{"key for all", good, 0o644, now, "mode 0644"},
		{"expired", good, 0o600, now.Add(2 * time.Hour), "expired at"},
		{"not yet", good, 0o600, now.Add(-2 * time.Minute), "not valid before"},
		{"late", good, 0o600, now.Add(50 * time.Minute), "should have been renewed"},
		{"just issued, for 20 s, and backdated",
			pkitest.Leaf{DNS: good.DNS, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(20 * time.Second)}, 0o600, now.Add(time.Second), ""},
		{"client only", pkitest.Leaf{DNS: good.DNS, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, 0o600, now, "serverAuth"},
		{"no name", pkitest.Leaf{}, 0o600, now, "no name"},
		{"CA expired", pkitest.Leaf{DNS: good.DNS, NotAfter: now.Add(1000 * time.Hour)}, 0o600, now.Add(48 * time.Hour), "client CA"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			ca := pkitest.NewCA(t, "ca")
			crt, key := ca.Issue(t, tt.leaf).Write(t, dir, "server")
			bundle := filepath.Join(dir, "ca.crt")
			if err := os.WriteFile(bundle, ca.PEM(), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(key, tt.mode); err != nil {
				t.Fatal(err)
			}
			f := pki.Files{Cert: crt, Key: key, ClientCA: []string{bundle}}
			s, err := f.Load()
			if err != nil {
				t.Fatal(err)
			}
			got := f.Warnings(s, tt.at)
			switch {
			case tt.want == "" && len(got) > 0, tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
				t.Errorf("got %q, want one with %q", got, tt.want)
			}
		})
	}
}
