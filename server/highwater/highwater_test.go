package highwater_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"

	"github.com/sangate/sangate/server/highwater"
)

// A kek is a key encryption key of this test.
type kek struct{ aead *subtle.AESGCM }

func newKEK(t *testing.T, fill byte) kek {
	t.Helper()
	a, err := subtle.NewAESGCM(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return kek{a}
}

func (k kek) EncryptWithContext(_ context.Context, plain, ad []byte) ([]byte, error) {
	return k.aead.Encrypt(plain, ad)
}
func (k kek) DecryptWithContext(_ context.Context, text, ad []byte) ([]byte, error) {
	return k.aead.Decrypt(text, ad)
}

func open(t *testing.T, name string) *highwater.File {
	t.Helper()
	f, err := highwater.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func raise(t *testing.T, f *highwater.File, name string, n int64) {
	t.Helper()
	if err := f.Raise(map[string]*big.Int{name: big.NewInt(n)}); err != nil {
		t.Fatal(err)
	}
}

func marked(t *testing.T, f *highwater.File, name string, want int64) {
	t.Helper()
	if got := f.Mark(name); got.Cmp(big.NewInt(want)) != 0 {
		t.Errorf("%s is at %d, want %d", name, got, want)
	}
}

func TestMarksOnlyGrow(t *testing.T) {
	name := filepath.Join(t.TempDir(), "marks")
	f, other := open(t, name), open(t, name)
	if !f.Missing() {
		t.Error("a file that is not there is not missing")
	}
	raise(t, f, "a", 5)
	raise(t, other, "b", 7) // keeps what the first has written
	raise(t, f, "a", 3)
	long := new(big.Int).Lsh(big.NewInt(1), 159) // the number of a revocation list may have 20 bytes
	if err := f.Raise(map[string]*big.Int{"crl": long}); err != nil {
		t.Fatal(err)
	}
	again := open(t, name)
	marked(t, again, "a", 5)
	marked(t, again, "b", 7)
	if again.Missing() || again.Mark("crl").Cmp(long) != 0 {
		t.Errorf("read again: %v", again.Marks())
	}
	for bad, n := range map[string]*big.Int{"": big.NewInt(1), "x": big.NewInt(-1), "y": nil,
		"z": new(big.Int).Lsh(long, 1), strings.Repeat("n", 201): big.NewInt(1)} {
		if err := f.Raise(map[string]*big.Int{bad: n}); err == nil {
			t.Errorf("%q was raised to %d", bad, n)
		}
	}
	var wg sync.WaitGroup
	for i := range 8 {
		f := open(t, name)
		wg.Go(func() {
			for n := range int64(5) {
				raise(t, f, fmt.Sprint("w", i), n+1)
			}
		})
	}
	wg.Wait()
	for i := range 8 {
		marked(t, open(t, name), fmt.Sprint("w", i), 5)
	}
}

// Marks that were changed without the key encryption key are refused, and so are those
// that another one wrapped.
func TestProof(t *testing.T) {
	name := filepath.Join(t.TempDir(), "marks")
	f := open(t, name)
	raise(t, f, "a", 5)
	if err := f.Seal(t.Context(), newKEK(t, 1)); err != nil {
		t.Fatal(err)
	}
	raise(t, f, "a", 6)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	locked := open(t, name)
	if !locked.Locked() || !errors.Is(locked.Raise(map[string]*big.Int{"a": big.NewInt(9)}), highwater.ErrLocked) {
		t.Error("marks with a proof were raised without the key")
	}
	for what, edit := range map[string]func(m map[string]any){
		"lower":    func(m map[string]any) { m["marks"] = map[string]any{"a": 4} },
		"another":  func(m map[string]any) { m["marks"] = map[string]any{"a": 6, "b": 1} },
		"epoch":    func(m map[string]any) { m["epoch"] = 7 },
		"no proof": func(m map[string]any) { delete(m, "proof") },
		"no key":   func(m map[string]any) { delete(m, "keys") },
	} {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		edit(m)
		data, _ := json.Marshal(m)
		os.WriteFile(name, data, 0o600)
		if err := open(t, name).Unlock(t.Context(), newKEK(t, 1)); !errors.Is(err, highwater.ErrProof) {
			t.Errorf("%s: %v", what, err)
		}
		if err := f.Refresh(); !errors.Is(err, highwater.ErrProof) {
			t.Errorf("%s: read again by one who has the key: %v", what, err)
		}
	}
	os.WriteFile(name, good, 0o600)
	again := open(t, name)
	if err := again.Unlock(t.Context(), newKEK(t, 2)); !errors.Is(err, highwater.ErrProof) {
		t.Errorf("another key: %v", err)
	}
	if err := again.Unlock(t.Context(), newKEK(t, 1)); err != nil {
		t.Fatal(err)
	}
	raise(t, again, "a", 7)
	// Another key encryption key opens it as well, and then alone.
	if err := again.Rewrap(t.Context(), newKEK(t, 2)); err != nil {
		t.Fatal(err)
	}
	raise(t, f, "a", 8) // by one who knows of no other key: it stays
	for _, fill := range []byte{1, 2} {
		if err := open(t, name).Unlock(t.Context(), newKEK(t, fill)); err != nil {
			t.Errorf("key %d: %v", fill, err)
		}
	}
	last := open(t, name)
	if err := errors.Join(last.Unlock(t.Context(), newKEK(t, 2)), last.Only(t.Context(), newKEK(t, 2))); err != nil {
		t.Fatal(err)
	}
	marked(t, last, "a", 8)
	if err := open(t, name).Unlock(t.Context(), newKEK(t, 1)); !errors.Is(err, highwater.ErrProof) {
		t.Errorf("the key before still opens it: %v", err)
	}
}

// One who has no key does not replace marks with a proof by some without.
func TestPlainNeverReplacesSealed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "marks")
	plain, sealed := open(t, name), open(t, name)
	raise(t, plain, "a", 5)
	if err := open(t, name).Seal(t.Context(), newKEK(t, 1)); err != nil {
		t.Fatal(err)
	}
	if err := plain.Raise(map[string]*big.Int{"a": big.NewInt(6)}); !errors.Is(err, highwater.ErrLocked) {
		t.Errorf("raised without the key: %v", err)
	}
	if err := sealed.Seal(t.Context(), newKEK(t, 1)); err == nil {
		t.Error("sealed twice, by different keys")
	}
	if !open(t, name).Sealed() {
		t.Error("the proof is gone")
	}
}

// Marks that were set back on purpose are taken over by others that have the file open.
func TestReset(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		name := filepath.Join(t.TempDir(), "marks")
		running := open(t, name)
		raise(t, running, "a", 5)
		raise(t, running, "crl", 9)
		f := open(t, name)
		if sealed {
			if err := running.Seal(t.Context(), newKEK(t, 1)); err != nil {
				t.Fatal(err)
			}
			f = open(t, name)
			if err := f.Unlock(t.Context(), newKEK(t, 1)); err != nil {
				t.Fatal(err)
			}
		}
		ours := func(name string) bool { return name == "a" }
		if err := f.Reset(t.Context(), nil, ours, map[string]*big.Int{"a": big.NewInt(2)}); err != nil {
			t.Fatal(err)
		}
		marked(t, open(t, name), "a", 2)
		marked(t, open(t, name), "crl", 9)
		if err := running.Refresh(); err != nil {
			t.Fatal(err)
		}
		marked(t, running, "a", 2)
		raise(t, running, "a", 3)
		if got := open(t, name); got.Sealed() != sealed {
			t.Errorf("sealed is %t, want %t", got.Sealed(), sealed)
		}
	}
}

func TestBadFiles(t *testing.T) {
	for name, text := range map[string]string{
		"empty":     "",
		"not JSON":  "marks",
		"version":   `{"version":2}`,
		"negative":  `{"version":1,"marks":{"a":-1}}`,
		"fraction":  `{"version":1,"marks":{"a":1.5}}`,
		"null":      `{"version":1,"marks":{"a":null}}`,
		"too large": `{"version":1,"marks":{"a":1` + strings.Repeat("0", 60) + `}}`,
	} {
		file := filepath.Join(t.TempDir(), "marks")
		os.WriteFile(file, []byte(text), 0o600)
		if _, err := highwater.Open(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
		if err := highwater.Fresh(file).Reset(t.Context(), nil, func(string) bool { return true }, nil); err != nil {
			t.Errorf("%s: replacing it: %v", name, err)
		}
		open(t, file)
	}
}
