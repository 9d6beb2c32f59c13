package pki

import (
	"context"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"go.step.sm/crypto/pemutil"
)

func TestSourceKeepsLastGood(t *testing.T) {
	server, ca, other := pkitest.NewCA(t, "server"), pkitest.NewCA(t, "clients"), pkitest.NewCA(t, "other")
	first := snapshotOf(t, server, ca)
	var snap *Snapshot
	var loadErr error
	load := func() (*Snapshot, error) {
		if snap == nil {
			return nil, loadErr
		}
		fresh := *snap // equal content, other pointers, as read from files
		cert := *snap.Certificate
		bundle, err := NewBundle(snap.Bundle.Certificates())
		fresh.Certificate, fresh.Bundle = &cert, bundle
		return &fresh, err
	}
	loadErr = errors.New("no file")
	if _, err := NewSource(load); !errors.Is(err, loadErr) {
		t.Fatalf("got %v", err)
	}
	snap = first
	src, err := NewSource(load)
	if err != nil {
		t.Fatal(err)
	}
	good := src.Snapshot()

	reload := func(wantChanged, wantErr bool) *Snapshot {
		t.Helper()
		changed, err := src.Reload()
		if changed != wantChanged || (err != nil) != wantErr {
			t.Fatalf("changed %t, error %v", changed, err)
		}
		return src.Snapshot()
	}
	if reload(false, false) != good || good.Generation != 1 {
		t.Error("equal content made another snapshot")
	}
	snap = nil
	if reload(false, true) != good {
		t.Error("a load that failed changed the snapshot")
	}
	loadErr = nil // a load without error and without snapshot
	if reload(false, true) != good {
		t.Error("no snapshot changed the snapshot")
	}
	snap = &Snapshot{Certificate: first.Certificate, Bundle: snapshotOf(t, server, other).Bundle}
	if s := reload(true, false); s.Generation != 2 || s.Bundle == good.Bundle || s.Certificate != good.Certificate {
		t.Error("another bundle: the certificate stays the same, the bundle does not")
	}
	snap = &Snapshot{Certificate: snapshotOf(t, server, ca).Certificate, Bundle: snap.Bundle}
	before := src.Snapshot()
	if s := reload(true, false); s.Generation != 3 || s.Bundle != before.Bundle || s.Certificate == before.Certificate {
		t.Error("another certificate: the bundle stays the same, the certificate does not")
	}
}

// TestSourceNeverMixes: leaf and bundle are of one moment, for any reader.
func TestSourceNeverMixes(t *testing.T) {
	a, b := pkitest.NewCA(t, "a"), pkitest.NewCA(t, "b")
	pair := [2]*Snapshot{snapshotOf(t, a, a), snapshotOf(t, b, b)}
	n := 0
	src, err := NewSource(func() (*Snapshot, error) {
		n++
		s := *pair[n%2]
		return &s, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var last uint64
			for ctx.Err() == nil {
				s := src.Snapshot()
				if !s.Certificate.Leaf.NotBefore.IsZero() && s.Certificate.Leaf.CheckSignatureFrom(s.Bundle.Certificates()[0]) != nil {
					t.Error("leaf of one, bundle of another")
					return
				}
				if s.Generation < last {
					t.Errorf("generation %d after %d", s.Generation, last)
					return
				}
				last = s.Generation
			}
		})
	}
	for range 500 {
		if changed, err := src.Reload(); !changed || err != nil {
			t.Errorf("changed %t, %v", changed, err)
		}
	}
	cancel()
	wg.Wait()
	if g := src.Snapshot().Generation; g != 501 {
		t.Errorf("generation %d", g)
	}
}

// TestFilesLoad: what is not whole, or not a pair, does not load.
func TestFilesLoad(t *testing.T) {
	ca := pkitest.NewCA(t, "ca")
	inter := ca.Intermediate(t, "intermediate", nil)
	cert, other := inter.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}}), inter.Issue(t, pkitest.Leaf{DNS: []string{"a.example"}})
	chain, key := cert.CertPEM(), cert.KeyPEM(t)
	leafLen := len(chain) - len(inter.PEM())
	roots := append(ca.PEM(), inter.PEM()...)
	tests := []struct {
		name             string
		cert, key, roots []byte
		ok               bool
	}{
		{"good", chain, key, roots, true},
		{"comments and a byte order mark", append([]byte("\ufeff# ours\n"), chain...), key, append([]byte("# theirs\nsubject=CN = ca\n"), roots...), true},
		{"CRLF", crlf(chain), crlf(key), crlf(roots), true},
		{"DER", cert.Leaf.Raw, key, ca.Cert.Raw, true},
		{"key of another", chain, other.KeyPEM(t), roots, false},
		{"empty certificate", nil, key, roots, false},
		{"empty key", chain, nil, roots, false},
		{"empty bundle", chain, key, nil, false},
		{"bundle of comments", chain, key, []byte("# none\n"), false},
		{"leaf as client CA", chain, key, chain, false},
		{"certificate as key", chain, chain[:leafLen], roots, false},
		{"key in the certificate", append(key, chain...), key, roots, false},
		{"key in the bundle", chain, key, append(roots, key...), false},
		{"rest of a longer file behind", append(append([]byte(nil), chain...), chain[len(chain)-200:]...), key, roots, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := writeFiles(t, t.TempDir(), tt.cert, tt.key, tt.roots).Load()
			if (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
	// A prefix of a file loads only if it ends with the END line of a
	// certificate: then nothing in the file tells.
	t.Run("every prefix", func(t *testing.T) {
		for n := range chain {
			whole := n == leafLen-1 || n == leafLen || n == len(chain)-1
			certs, err := parseCertificates(chain[:n])
			if (err == nil) != whole {
				t.Fatalf("%d of %d bytes (leaf %d): %d certificates, %v", n, len(chain), leafLen, len(certs), err)
			}
		}
	})
	t.Run("every prefix of the key", func(t *testing.T) {
		dir := t.TempDir()
		f := writeFiles(t, dir, chain, key, roots)
		for n := range len(key) - 1 {
			writeFile(t, f.Key, key[:n])
			if _, err := f.loadKey(); err == nil {
				t.Fatalf("%d of %d bytes are a key", n, len(key))
			}
		}
	})
}

func TestFilesEncryptedKey(t *testing.T) {
	ca := pkitest.NewCA(t, "ca")
	cert := ca.Issue(t, pkitest.Leaf{})
	block, err := pemutil.Serialize(cert.TLS.PrivateKey, pemutil.WithPKCS8(true), pemutil.WithPassword([]byte("right")))
	must(t, err)
	f := writeFiles(t, t.TempDir(), cert.CertPEM(), pem.EncodeToMemory(block), ca.PEM())
	if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "keyPasswordFile") {
		t.Errorf("without a password: %v", err)
	}
	f.KeyPasswordFile = filepath.Join(t.TempDir(), "password")
	if _, err := f.Load(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
	for password, ok := range map[string]bool{"right": true, "right\n": true, "right\r\n": true, "wrong": false, "": false} {
		writeFile(t, f.KeyPasswordFile, []byte(password))
		if _, err := f.Load(); (err == nil) != ok || err != nil && strings.Contains(err.Error(), "wrong") {
			t.Errorf("%q: %v", password, err)
		}
	}
}

func crlf(data []byte) (out []byte) {
	for _, c := range data {
		if c == '\n' {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

func TestLoadBundleFolder(t *testing.T) {
	a, b := pkitest.NewCA(t, "a"), pkitest.NewCA(t, "b")
	dir := t.TempDir()
	if _, err := LoadBundle([]string{dir}); !errors.Is(err, ErrNoRoots) {
		t.Errorf("empty folder: %v", err)
	}
	writeFile(t, filepath.Join(dir, "a.pem"), a.PEM())
	writeFile(t, filepath.Join(dir, "b.crt"), append(b.PEM(), a.PEM()...))
	writeFile(t, filepath.Join(dir, "README"), []byte("not looked at"))
	bundle, err := LoadBundle([]string{dir, filepath.Join(dir, "a.pem")})
	if err != nil || len(bundle.Certificates()) != 2 {
		t.Fatalf("%v, %v", bundle, err)
	}
	again, err := LoadBundle([]string{filepath.Join(dir, "b.crt")})
	if err != nil || again.digest != bundle.digest {
		t.Errorf("the same anchors in another order are another bundle: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "c.pem"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadBundle([]string{dir}); err == nil {
		t.Error("a folder named c.pem is passed over")
	}
	if _, err := LoadBundle([]string{filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func writeFiles(t *testing.T, dir string, cert, key, roots []byte) Files {
	t.Helper()
	f := Files{Cert: filepath.Join(dir, "server.crt"), Key: filepath.Join(dir, "server.key"), ClientCA: []string{filepath.Join(dir, "roots.pem")}}
	writeFile(t, f.Cert, cert)
	writeFile(t, f.Key, key)
	writeFile(t, f.ClientCA[0], roots)
	return f
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
