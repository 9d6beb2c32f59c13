package credential_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/store"
)

func TestRewrapAndRekey(t *testing.T) {
	dir := t.TempDir()
	v := vault(t, dir)
	id := add(t, v, &credential.Secret{Name: "a", Type: credential.APIKey, Value: "one"})
	running := vault(t, dir)
	resolved(t, running, id)

	t.Setenv("SANGATE_TEST_KEK", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	if err := v.Rewrap(t.Context(), "env:SANGATE_TEST_KEK"); err != nil {
		t.Fatal(err)
	}
	if got := resolved(t, running, id); got != "one" {
		t.Errorf("who had it open gets %q", got)
	}
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	old := credential.New(s, "file:"+filepath.Join(dir, "kek"), slog.New(slog.DiscardHandler))
	if err := old.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "wrapped by env:SANGATE_TEST_KEK") {
		t.Errorf("by the key before: %v", err)
	}
	fresh := credential.New(s, "env:SANGATE_TEST_KEK", slog.New(slog.DiscardHandler))
	if got := resolved(t, fresh, id); got != "one" {
		t.Errorf("by the new key: %q", got)
	}

	told := ""
	if err := fresh.Rekey(t.Context(), func(done, total int) { told += fmt.Sprintf("%d of %d ", done, total) }); err != nil || told != "0 of 1 " {
		t.Fatal(err, told)
	}
	if got := resolved(t, fresh, id); got != "one" {
		t.Errorf("by new keys: %q", got)
	}
	// One who held the keys before looks for the new ones.
	late := credential.New(s, "env:SANGATE_TEST_KEK", slog.New(slog.DiscardHandler))
	resolved(t, late, id)
	if err := fresh.Rekey(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Update(t.Context(), id, "two", 0); err != nil {
		t.Error(err)
	}
	if got := resolved(t, fresh, id); got != "two" {
		t.Errorf("written by one who held older keys: %q", got)
	}
}

func TestKEK(t *testing.T) {
	dir := t.TempDir()
	v := vault(t, dir)
	info, err := os.Stat(filepath.Join(dir, "kek"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	if made, kept, err := v.Init(t.Context()); made || kept || err != nil {
		t.Errorf("init again: %v, %v, %v", made, kept, err)
	}
	for ref, want := range map[string]string{
		"file:" + dir + "/none":  "credential init",
		"env:SANGATE_TEST_NONE":  "environment variable SANGATE_TEST_NONE",
		"file:" + dir + "/short": "openssl rand -base64 32",
		"/etc/kek":               "file:PATH, env:NAME or a KMS URI",
	} {
		os.WriteFile(dir+"/short", []byte("aGVsbG8="), 0o600)
		if _, err := credential.OpenKEK(t.Context(), ref, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	os.Chmod(dir+"/kek", 0o644)
	var log bytes.Buffer
	if _, err := credential.OpenKEK(t.Context(), "file:"+dir+"/kek", slog.New(slog.NewTextHandler(&log, nil))); err != nil || !strings.Contains(log.String(), "others can read") {
		t.Errorf("open to others: %v, %s", err, log.String())
	}
	// Lost: another is made, and opens nothing.
	os.Remove(dir + "/kek")
	if _, err := credential.CreateKEK("file:" + dir + "/kek"); err != nil {
		t.Fatal(err)
	}
	if err := vaultOver(t, dir).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "put the right key there") {
		t.Errorf("another key: %v", err)
	}
}

func vaultOver(t *testing.T, dir string) *credential.Vault {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return credential.New(s, "file:"+filepath.Join(dir, "kek"), slog.New(slog.DiscardHandler))
}

// Eight write, one replaces the keys: nothing is lost.
func TestWritersSideBySide(t *testing.T) {
	dir := t.TempDir()
	v := vault(t, dir)
	id := add(t, v, &credential.Secret{Name: "a", Type: credential.APIKey, Value: "0"})
	var wg sync.WaitGroup
	for i := range 8 {
		other := vault(t, dir)
		wg.Go(func() {
			for range 10 {
				if _, err := other.Update(t.Context(), id, fmt.Sprint(i), 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		if err := v.Rekey(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	info, err := v.Info(t.Context(), id)
	if err != nil || info.Version != 81 {
		t.Errorf("version %d after 80 updates: %v", info.Version, err)
	}
	if got := resolved(t, v, id); len(got) != 1 {
		t.Errorf("resolved %q", got)
	}
}

// No way to print a secret prints it.
func TestSecretsAreNotShown(t *testing.T) {
	s := &credential.Secret{Name: "a", Type: credential.APIKey, Value: "hunter2"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s)
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%s", s), log.String(), fmt.Errorf("%w %v", errors.New("x"), s).Error()} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("shown in %s", text)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	v := vault(b, b.TempDir())
	info, err := v.Add(b.Context(), &credential.Secret{Name: "a", Tenant: "acme", Type: credential.APIKey, Value: "one"}, "", "")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := v.Resolve(b.Context(), credential.Ref{ID: info.ID}); err != nil {
			b.Fatal(err)
		}
	}
}
