package stepca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"go.step.sm/crypto/keyutil"
)

// A rekey never ends in a weaker key.
func TestAnotherKeepsStrength(t *testing.T) {
	ec := func(c elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	rsaKey := func(bits int) crypto.Signer {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	tests := []struct {
		name string
		old  crypto.Signer
		ok   bool
	}{
		{"P-256", ec(elliptic.P256()), true},
		{"P-384", ec(elliptic.P384()), true},
		{"P-521", ec(elliptic.P521()), true},
		{"P-224", ec(elliptic.P224()), false},
		{"RSA 2048", rsaKey(2048), true},
		{"RSA 4096", rsaKey(4096), true},
		{"RSA 2304", rsaKey(2304), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := another(tt.old.Public())
			if (err == nil) != tt.ok {
				t.Fatalf("%v, want ok %v", err, tt.ok)
			}
			if err != nil {
				return
			}
			if keyutil.Equal(key.Public(), tt.old.Public()) {
				t.Error("the same key")
			}
			if was, is := bits(t, tt.old.Public()), bits(t, key.Public()); was != is {
				t.Errorf("%d bits became %d", was, is)
			}
		})
	}
}

func bits(t *testing.T, pub crypto.PublicKey) int {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return pub.Params().BitSize
	case *rsa.PublicKey:
		return pub.N.BitLen()
	}
	t.Fatalf("a %T", pub)
	return 0
}

func TestOpenKey(t *testing.T) {
	for _, kind := range []KeyKind{ECP256, ECP384, Ed25519, RSA2048} {
		uri := "softkms:path=" + filepath.Join(t.TempDir(), "key.pem")
		made, err := OpenKey(t.Context(), uri, kind)
		if err != nil {
			t.Fatal(kind, err)
		}
		opened, err := OpenKey(t.Context(), uri, ECP256) // there is one: its kind stays
		if err != nil || !keyutil.Equal(made.Public(), opened.Public()) {
			t.Errorf("%v: another key the second time, or %v", kind, err)
		}
		if want, _ := kind.generate(); keyType(made) != keyType(want) {
			t.Errorf("%v: made a key of %T", kind, made.Public())
		}
	}
}

func keyType(s crypto.Signer) string {
	switch s.Public().(type) {
	case *ecdsa.PublicKey:
		return "EC"
	case *rsa.PublicKey:
		return "RSA"
	}
	return "other"
}

// A pipe in the place of a file must not hold up who reads it.
func TestReadFileRefusesPipes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{name, filepath.Dir(name), "/dev/null"} {
		if _, err := readFile(name); err == nil || errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
