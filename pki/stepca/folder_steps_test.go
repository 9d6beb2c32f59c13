package stepca

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.step.sm/crypto/minica"
)

// This file is inside the package for Folder.step, where a Save is cut short.

// pairFor makes a pair with the given serial number.
func pairFor(t testing.TB, ca *minica.CA, serial int64) *Pair {
	t.Helper()
	key, err := ECP256.generate()
	if err != nil {
		t.Fatal(err)
	}
	crt, err := ca.Sign(&x509.Certificate{
		SerialNumber: big.NewInt(serial), PublicKey: key.Public(), Subject: pkix.Name{CommonName: fmt.Sprint(serial)},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := NewPair([]*x509.Certificate{crt, ca.Intermediate}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func newMinica(t testing.TB) *minica.CA {
	t.Helper()
	ca, err := minica.New()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// stopAt saves p and stops right after the step.
func stopAt(f Folder, p *Pair, step string) (reached bool) {
	defer func() { recover() }()
	f.step = func(name string) {
		if name == step {
			reached = true
			panic("stopped")
		}
	}
	f.Save(p)
	return
}

func serialOf(f Folder) (int64, error) {
	p, err := f.Load()
	if err != nil {
		return 0, err
	}
	return p.Leaf().SerialNumber.Int64(), nil
}

func TestFolderStoppedAfterEachStep(t *testing.T) {
	ca := newMinica(t)
	tests := []struct {
		step       string
		first, old int64 // what is found after a first Save (0: nothing), and after one over an old pair
	}{
		{"mkdir", 0, 1},
		{"key", 0, 1},
		{"cert", 0, 1},
		{"version", 2, 1}, // a token was spent for it: better the new than none
		{"symlink", 2, 1},
		{"swap", 2, 2},
		{"prune", 2, 2},
	}
	for _, tt := range tests {
		t.Run(tt.step, func(t *testing.T) {
			fresh := Folder{Dir: filepath.Join(t.TempDir(), "a", "b")}
			stopAt(fresh, pairFor(t, ca, 2), tt.step)
			if got, err := serialOf(fresh); got != tt.first || tt.first == 0 && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("first Save: %d, %v; want %d", got, err, tt.first)
			}

			f := Folder{Dir: t.TempDir(), Keep: 2}
			for range 3 { // so that there is something to prune
				if err := f.Save(pairFor(t, ca, 1)); err != nil {
					t.Fatal(err)
				}
			}
			if !stopAt(f, pairFor(t, ca, 2), tt.step) {
				t.Fatal("the step was not reached")
			}
			// First by the link, which Load would mend.
			if _, err := ReadFiles(f.Cert(), filepath.Join(f.Dir, currentLink, keyName)); err != nil {
				t.Errorf("by the link: %v", err)
			}
			if got, err := serialOf(f); got != tt.old || err != nil {
				t.Errorf("over an old one: %d, %v; want %d", got, err, tt.old)
			}
			// And the next Save works and cleans up.
			if err := f.Save(pairFor(t, ca, 3)); err != nil {
				t.Fatal(err)
			}
			if got, err := serialOf(f); got != 3 || err != nil {
				t.Errorf("after another Save: %d, %v", got, err)
			}
			wantEntries(t, f.Dir, 3)
		})
	}
}

// wantEntries counts the versions kept, and the link.
func wantEntries(t *testing.T, dir string, n int) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != n {
		t.Errorf("in the folder: %v, %v; want %d", left, err, n)
	}
}

func TestFolder(t *testing.T) {
	ca := newMinica(t)
	f := Folder{Dir: filepath.Join(t.TempDir(), "gate")}
	if _, err := f.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("nothing there: %v", err)
	}
	for serial := int64(1); serial <= 6; serial++ {
		if err := f.Save(pairFor(t, ca, serial)); err != nil {
			t.Fatal(err)
		}
		if got, err := serialOf(f); got != serial || err != nil {
			t.Fatalf("%d, %v", got, err)
		}
	}
	wantEntries(t, f.Dir, 4)
	err := filepath.WalkDir(f.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch mode := info.Mode(); {
		case mode.IsDir() && mode.Perm() != 0o700, mode.IsRegular() && mode.Perm() != 0o600:
			t.Errorf("%s has mode %v", path, mode)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFolderDamage(t *testing.T) {
	ca := newMinica(t)
	tests := []struct {
		name   string
		damage func(t *testing.T, f Folder)
		want   int64 // 0: an error that is not fs.ErrNotExist
	}{
		{"link gone", func(t *testing.T, f Folder) { os.Remove(filepath.Join(f.Dir, currentLink)) }, 3},
		{"link to nowhere", func(t *testing.T, f Folder) { relinkTo(t, f, "v-00000099-aa") }, 3},
		{"link out of the folder", func(t *testing.T, f Folder) { relinkTo(t, f, "/etc") }, 3},
		{"link back by hand", func(t *testing.T, f Folder) { relinkTo(t, f, "v-00000002-2") }, 2},
		{"certificate cut off", func(t *testing.T, f Folder) { os.Truncate(f.Cert(), 100) }, 2},
		{"certificate empty", func(t *testing.T, f Folder) { os.Truncate(f.Cert(), 0) }, 2},
		{"key of another", func(t *testing.T, f Folder) {
			other, _ := pairFor(t, ca, 9).KeyPEM()
			os.WriteFile(filepath.Join(f.Dir, currentLink, keyName), other, 0o600)
		}, 2},
		{"key gone", func(t *testing.T, f Folder) { os.Remove(filepath.Join(f.Dir, currentLink, keyName)) }, 2},
		{"all damaged", func(t *testing.T, f Folder) {
			all, _ := filepath.Glob(f.Dir + "/v-*/" + certName)
			for _, name := range all {
				os.Truncate(name, 0)
			}
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := Folder{Dir: t.TempDir()}
			for serial := int64(1); serial <= 3; serial++ {
				if err := f.Save(pairFor(t, ca, serial)); err != nil {
					t.Fatal(err)
				}
			}
			tt.damage(t, f)
			got, err := serialOf(f)
			if got != tt.want || (err == nil) != (tt.want != 0) || errors.Is(err, fs.ErrNotExist) && tt.want == 0 {
				t.Fatalf("%d, %v; want %d", got, err, tt.want)
			}
			if err != nil {
				return
			}
			// Mended: who follows the link gets the same.
			p, err := ReadFiles(f.Cert(), filepath.Join(f.Dir, currentLink, keyName))
			if err != nil || p.Leaf().SerialNumber.Int64() != tt.want {
				t.Errorf("by the link: %v", err)
			}
		})
	}
}

func relinkTo(t *testing.T, f Folder, target string) {
	t.Helper()
	link := filepath.Join(f.Dir, currentLink)
	if err := errors.Join(os.Remove(link), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
}
