package stepca_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

func newPair(t testing.TB, ca *pkitest.CA, l pkitest.Leaf) *stepca.Pair {
	t.Helper()
	c := ca.Issue(t, l)
	pair, err := stepca.NewPair([]*x509.Certificate{c.Leaf}, c.TLS.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func pairFiles(t testing.TB) stepca.Files {
	dir := t.TempDir()
	return stepca.Files{Cert: filepath.Join(dir, "server.crt"), Key: filepath.Join(dir, "server.key")}
}

func TestWriteFiles(t *testing.T) {
	ca := pkitest.NewCA(t, "ours")
	f := pairFiles(t)
	if _, err := f.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("empty folder: %v", err)
	}
	// A key file that others could read must not stay one.
	if err := os.WriteFile(f.Key, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		pair := newPair(t, ca, pkitest.Leaf{})
		if err := f.Save(pair); err != nil {
			t.Fatal(err)
		}
		got, err := f.Load()
		if err != nil || !got.Leaf().Equal(pair.Leaf()) {
			t.Fatalf("read back: %v", err)
		}
		if info, _ := os.Stat(f.Key); info.Mode() != 0o600 {
			t.Errorf("key has mode %v", info.Mode())
		}
		left, _ := os.ReadDir(filepath.Dir(f.Cert))
		if len(left) != 2 {
			t.Errorf("left in the folder: %v", left)
		}
	}
}

// A crash may fall between any two steps of a replacement.
func TestTornFiles(t *testing.T) {
	ca := pkitest.NewCA(t, "ours")
	old, next := newPair(t, ca, pkitest.Leaf{}), newPair(t, ca, pkitest.Leaf{})
	put := func(t *testing.T, name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nextKey, _ := next.KeyPEM()
	tests := []struct {
		name  string
		crash func(*testing.T, stepca.Files)
		want  *stepca.Pair // nil: ErrMismatch
	}{
		{"key staged", func(t *testing.T, f stepca.Files) { put(t, atomicfile.Staged(f.Key), nextKey) }, old},
		{"both staged", func(t *testing.T, f stepca.Files) {
			put(t, atomicfile.Staged(f.Key), nextKey)
			put(t, atomicfile.Staged(f.Cert), next.CertPEM())
		}, old},
		{"key swapped", func(t *testing.T, f stepca.Files) {
			put(t, f.Key, nextKey)
			put(t, atomicfile.Staged(f.Cert), next.CertPEM())
		}, next},
		{"foreign key", func(t *testing.T, f stepca.Files) { put(t, f.Key, nextKey) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := pairFiles(t)
			if err := f.Save(old); err != nil {
				t.Fatal(err)
			}
			tt.crash(t, f)
			got, err := f.Load()
			if tt.want == nil {
				if !errors.Is(err, stepca.ErrMismatch) {
					t.Fatalf("%v, want ErrMismatch", err)
				}
				return
			}
			if err != nil || !got.Leaf().Equal(tt.want.Leaf()) {
				t.Fatalf("loaded another pair, or %v", err)
			}
			// Load mended the files: whoever looks only at the two names is served.
			os.Remove(atomicfile.Staged(f.Cert))
			if again, err := stepca.ReadFiles(f.Cert, f.Key); err != nil || !again.Leaf().Equal(tt.want.Leaf()) {
				t.Errorf("not mended: %v", err)
			}
		})
	}
}

// Readers during replacements get whole files, and a pair every time.
func TestReadersSeeWholePairs(t *testing.T) {
	ca := pkitest.NewCA(t, "ours")
	f := pairFiles(t)
	pairs := []*stepca.Pair{newPair(t, ca, pkitest.Leaf{}), newPair(t, ca, pkitest.Leaf{})}
	if err := f.Save(pairs[0]); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(stop)
		for i := range 100 {
			if err := f.Save(pairs[i%2]); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for done := false; !done; {
		select {
		case <-stop:
			done = true
		default:
		}
		for _, name := range []string{f.Cert, f.Key} {
			data, err := os.ReadFile(name)
			if err != nil || len(data) < 100 || string(data[len(data)-6:]) != "-----\n" {
				t.Fatalf("%s: %d bytes, %v", name, len(data), err)
			}
		}
		if info, err := os.Stat(f.Key); err != nil || info.Mode() != 0o600 {
			t.Fatalf("key: %v, %v", info, err)
		}
	}
	wg.Wait()
}

func TestReadFilesRefuses(t *testing.T) {
	ca := pkitest.NewCA(t, "ours")
	good := newPair(t, ca, pkitest.Leaf{})
	key, _ := good.KeyPEM()
	tests := []struct {
		name      string
		cert, key []byte
	}{
		{"empty certificate", nil, key},
		{"empty key", good.CertPEM(), nil},
		{"key in place of certificate", key, key},
		{"certificate in place of key", good.CertPEM(), good.CertPEM()},
		{"huge", make([]byte, 2<<20), key},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := pairFiles(t)
			os.WriteFile(f.Cert, tt.cert, 0o600)
			os.WriteFile(f.Key, tt.key, 0o600)
			if _, err := stepca.ReadFiles(f.Cert, f.Key); err == nil {
				t.Error("taken")
			}
		})
	}
}
