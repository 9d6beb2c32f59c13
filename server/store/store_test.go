package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/store"
)

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// raw is the database without the package.
func raw(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "sangate.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func mint(t *testing.T, tenant string) (key string, e apikey.Entry) {
	t.Helper()
	key, id, err := apikey.Mint()
	if err != nil {
		t.Fatal(err)
	}
	return key, apikey.Entry{ID: id, Tenant: tenant, Digest: apikey.Digest(key)}
}

func add(t *testing.T, s *store.Store, tenant string) apikey.Entry {
	t.Helper()
	_, e := mint(t, tenant)
	if err := s.AddKey(t.Context(), e, "a test's"); err != nil {
		t.Fatal(err)
	}
	return e
}

// keys returns all keys by id.
func keys(t *testing.T, s *store.Store) map[string]store.KeyRecord {
	t.Helper()
	records, err := s.Keys(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]store.KeyRecord{}
	for _, r := range records {
		byID[r.ID] = r
	}
	return byID
}

func TestKeyComesBackAsItWas(t *testing.T) {
	dir := t.TempDir()
	now := time.Now().UTC().Truncate(time.Microsecond)
	_, plain := mint(t, "acme")
	_, dated := mint(t, "acme")
	dated.NotBefore, dated.NotAfter = now, now.Add(time.Hour)
	_, revoked := mint(t, "globex")
	revoked.RevokedAt = now
	s := open(t, dir)
	for _, e := range []apikey.Entry{plain, dated, revoked} {
		if err := s.AddKey(t.Context(), e, "note of "+e.ID); err != nil {
			t.Fatal(err)
		}
	}
	again := keys(t, open(t, dir))
	if len(again) != 3 {
		t.Errorf("%d keys, want 3", len(again))
	}
	for _, want := range []apikey.Entry{plain, dated, revoked} {
		want.Source = "store"
		got := again[want.ID]
		if got.Entry != want || got.Description != "note of "+want.ID || got.CreatedAt.Before(now) || !got.LastUsed.IsZero() {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestAddKeyRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	_, e := mint(t, "acme")
	if err := s.AddKey(t.Context(), e, ""); err != nil {
		t.Fatal(err)
	}
	_, other := mint(t, "acme")
	tests := []struct {
		name  string
		entry apikey.Entry
	}{
		{"no id", apikey.Entry{Tenant: "acme", Digest: other.Digest}},
		{"no tenant", apikey.Entry{ID: other.ID, Digest: other.Digest}},
		{"no digest", apikey.Entry{ID: other.ID, Tenant: "acme"}},
		{"the same id", apikey.Entry{ID: e.ID, Tenant: "acme", Digest: other.Digest}},
		{"the same digest", apikey.Entry{ID: other.ID, Tenant: "globex", Digest: e.Digest}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := s.AddKey(t.Context(), tt.entry, ""); err == nil {
				t.Error("taken")
			}
		})
	}
	if n := len(keys(t, s)); n != 1 {
		t.Errorf("%d keys, want 1", n)
	}
}

func TestRevokeKey(t *testing.T) {
	s := open(t, t.TempDir())
	e, other := add(t, s, "acme"), add(t, s, "acme")
	first := time.Now().UTC().Truncate(time.Microsecond)
	for _, at := range []time.Time{first, first.Add(time.Hour), {}} {
		if err := s.RevokeKey(t.Context(), e.ID, at); err != nil {
			t.Fatal(err)
		}
		if got := keys(t, s)[e.ID].RevokedAt; !got.Equal(first) {
			t.Errorf("revoked at %v, want %v", got, first)
		}
	}
	if got := keys(t, s)[other.ID]; !got.RevokedAt.IsZero() {
		t.Errorf("the other key is revoked at %v", got.RevokedAt)
	}
	for _, id := range []string{"", "nobody", "' OR 1=1 --"} {
		if err := s.RevokeKey(t.Context(), id, first); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%q: %v, want ErrNotFound", id, err)
		}
	}
	// A moment that was forgotten does not leave the key alive.
	if err := s.RevokeKey(t.Context(), other.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if keys(t, s)[other.ID].RevokedAt.IsZero() {
		t.Error("revoked without a moment, and still alive")
	}
}

func TestSecretIsNowhereInTheFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var secrets []string
	var last apikey.Entry
	for range 20 {
		key, e := mint(t, "acme")
		if err := s.AddKey(t.Context(), e, "somebody's"); err != nil {
			t.Fatal(err)
		}
		if err := s.RevokeKey(t.Context(), e.ID, time.Now()); err != nil {
			t.Fatal(err)
		}
		secrets, last = append(secrets, key[len("sgk_")+len(e.ID)+1:]), e
	}
	if err := s.Close(); err != nil { // reading files beside SQLite takes its locks away
		t.Fatal(err)
	}
	var all []byte
	for _, file := range files(t, dir) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	if !bytes.Contains(all, []byte(last.ID)) || !bytes.Contains(all, last.Digest[:]) {
		t.Error("neither id nor digest are there: this test looks in the wrong place")
	}
	for _, secret := range secrets {
		if bytes.Contains(all, []byte(secret)) || bytes.Contains(all, []byte(secret[:43])) {
			t.Fatal("a key's secret is in the files")
		}
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestModes(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string)
	}{
		{"fresh", func(*testing.T, string) {}},
		{"the file was open to all", func(t *testing.T, dir string) {
			s := open(t, dir)
			if err := errors.Join(s.Close(), os.Chmod(filepath.Join(dir, "sangate.db"), 0o666)); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "var", "state 100%? #1") // a name that a URL must quote
			tt.prepare(t, dir)
			add(t, open(t, dir), "acme")
			var names []string
			for _, file := range files(t, dir) {
				info, err := os.Stat(file)
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, filepath.Base(file))
				if info.Mode().Perm() != 0o600 {
					t.Errorf("%s has mode %v", file, info.Mode())
				}
			}
			if got := strings.Join(names, " "); got != "sangate.db sangate.db-shm sangate.db-wal" {
				t.Errorf("files: %s", got)
			}
			for _, d := range []string{dir, filepath.Dir(dir)} {
				if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
					t.Errorf("%s has mode %v, %v", d, info.Mode(), err)
				}
			}
		})
	}
}
