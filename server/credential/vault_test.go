package credential_test

import (
	"bytes"
	"context"
	"database/sql"
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

// vault opens the one in dir, and makes what is missing.
func vault(t testing.TB, dir string) *credential.Vault {
	t.Helper()
	s, err := store.Open(context.Background(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	v := credential.New(s, "file:"+filepath.Join(dir, "kek"), slog.New(slog.DiscardHandler))
	if _, _, err := v.Init(context.Background()); err != nil {
		t.Fatal(err)
	}
	return v
}

func add(t testing.TB, v *credential.Vault, s *credential.Secret) int64 {
	t.Helper()
	info, err := v.Add(t.Context(), s, "", "test")
	if err != nil {
		t.Fatal(err)
	}
	return info.ID
}

// resolved returns the value, or the error in its place.
func resolved(t testing.TB, v credential.Resolver, id int64) string {
	t.Helper()
	value, err := credential.GetPassword(t.Context(), v, id)
	if err != nil {
		return err.Error()
	}
	return value
}

func TestVault(t *testing.T) {
	dir := t.TempDir()
	v := vault(t, dir)
	key := &credential.Secret{Name: "zendesk", Tenant: "acme", Type: credential.APIKey, Header: "X-Api-Key", Value: "s3cret"}
	id := add(t, v, key)
	if _, err := v.Add(t.Context(), key, "", "test"); !errors.Is(err, store.ErrExists) {
		t.Errorf("a second one of the name: %v", err)
	}
	other := *key
	other.Tenant = "globex"
	if add(t, v, &other) == id {
		t.Error("two have one id")
	}
	got, err := v.Resolve(t.Context(), credential.Ref{Tenant: "acme", Name: "zendesk"})
	if err != nil || got.ID != id || got.Value != "s3cret" || got.Header != "X-Api-Key" || got.Version != 1 {
		t.Errorf("resolved %v: %v", got, err)
	}

	info, err := v.Update(t.Context(), id, "s3cret2", 1)
	if err != nil || info.Version != 2 {
		t.Errorf("update: %+v, %v", info, err)
	}
	if _, err := v.Update(t.Context(), id, "late", 1); !errors.Is(err, store.ErrVersion) {
		t.Errorf("an update of what was changed since: %v", err)
	}
	if got := resolved(t, vault(t, dir), id); got != "s3cret2" {
		t.Errorf("another process resolves %q", got)
	}

	if _, err := v.Delete(t.Context(), id, 1); !errors.Is(err, store.ErrVersion) {
		t.Errorf("a delete of what was changed since: %v", err)
	}
	if _, err := v.Delete(t.Context(), id, 0); err != nil {
		t.Error(err)
	}
	_, err = credential.GetPassword(t.Context(), v, id)
	if !errors.Is(err, credential.ErrCredentialNotFound) || !strings.Contains(err.Error(), fmt.Sprint(id)) {
		t.Errorf("deleted: %v", err)
	}
	if again := add(t, v, key); again <= id {
		t.Errorf("id %d was given again", again)
	}
}

func TestBadSecrets(t *testing.T) {
	v := vault(t, t.TempDir())
	for name, s := range map[string]*credential.Secret{
		"no value":        {Type: credential.APIKey},
		"a line break":    {Type: credential.APIKey, Value: "hunter2\r\nHost: evil"},
		"spaces":          {Type: credential.APIKey, Value: " hunter2"},
		"too long":        {Type: credential.APIKey, Value: strings.Repeat("hunter2", 3000)},
		"no such type":    {Type: "Token", Value: "hunter2"},
		"no user":         {Type: credential.Basic, Value: ":hunter2"},
		"no password":     {Type: credential.Basic, Value: "hunter2"},
		"a header":        {Type: credential.Basic, Value: "u:hunter2", Header: "X-Key"},
		"the Host header": {Type: credential.APIKey, Value: "hunter2", Header: "host"},
		"two headers":     {Type: credential.APIKey, Value: "hunter2", Header: "X: y\r\nZ"},
		"no JSON":         {Type: credential.OAuth2, Value: "hunter2"},
		"more JSON":       {Type: credential.OAuth2, Value: `{"tokenUrl":"https://a","clientId":"c","clientSecret":"hunter2","x":1}`},
		"plain http":      {Type: credential.OAuth2, Value: `{"tokenUrl":"http://a","clientId":"c","clientSecret":"hunter2"}`},
		"no client":       {Type: credential.OAuth2, Value: `{"tokenUrl":"https://a","clientSecret":"hunter2"}`},
	} {
		s.Name = "n"
		_, err := v.Add(t.Context(), s, "", "test")
		if _, ok := errors.AsType[*credential.InvalidError](err); !ok {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats the value: %v", name, err)
		}
	}
	for _, name := range []string{"", "../x", "a/b", "a b"} {
		if _, err := v.Add(t.Context(), &credential.Secret{Name: name, Type: credential.APIKey, Value: "x"}, "", ""); err == nil {
			t.Errorf("name %q was taken", name)
		}
	}
}

// A row that was changed by hand does not open: another's ciphertext, another
// tenant, an older version, another header.
func TestRowsAreBound(t *testing.T) {
	for name, edit := range map[string]string{
		"another row's": `UPDATE credentials SET sealed = (SELECT sealed FROM credentials WHERE id = 2) WHERE id = 1`,
		"tenant":        `UPDATE credentials SET tenant = 'globex' WHERE id = 1`,
		"version":       `UPDATE credentials SET version = 7 WHERE id = 1`,
		"header":        `UPDATE credentials SET header = 'X-Leak' WHERE id = 1`,
		"type":          `UPDATE credentials SET type = 'Basic' WHERE id = 1`,
		"whole row":     `UPDATE credentials SET id = 9 WHERE id = 1`,
		"one bit":       `UPDATE credentials SET sealed = CAST(substr(sealed, 1, length(sealed) - 1) || x'00' AS BLOB) WHERE id = 1`,
	} {
		dir := t.TempDir()
		v := vault(t, dir)
		add(t, v, &credential.Secret{Name: "a", Tenant: "acme", Type: credential.APIKey, Value: "one:one"})
		add(t, v, &credential.Secret{Name: "b", Tenant: "acme", Type: credential.APIKey, Value: "two:two"})
		db, err := sql.Open("sqlite", filepath.Join(dir, "sangate.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(edit); err != nil {
			t.Fatal(err)
		}
		db.Close()
		id := int64(1)
		if name == "whole row" {
			id = 9
		}
		if s, err := v.Resolve(t.Context(), credential.Ref{ID: id}); err == nil || !strings.Contains(err.Error(), "does not open") {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if got := resolved(t, v, 2); got != "two:two" {
			t.Errorf("%s: the other is %q", name, got)
		}
	}
}

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

	if err := fresh.Rekey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := resolved(t, fresh, id); got != "one" {
		t.Errorf("by new keys: %q", got)
	}
	// One who held the keys before looks for the new ones.
	late := credential.New(s, "env:SANGATE_TEST_KEK", slog.New(slog.DiscardHandler))
	resolved(t, late, id)
	if err := fresh.Rekey(t.Context()); err != nil {
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
		if err := v.Rekey(t.Context()); err != nil {
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
