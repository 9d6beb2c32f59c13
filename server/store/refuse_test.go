package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/store"
)

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	e := add(t, s, "acme")
	db := raw(t, dir)
	if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, 1)"); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), dir, store.Options{})
	if err == nil {
		t.Fatal("opened")
	}
	for _, want := range []string{dir, "schema 4711", "knows 6", "newer sangate"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	// Nothing was done to it: the binary that wrote it goes on.
	if _, err := db.Exec("DELETE FROM goose_db_version WHERE version_id = 4711"); err != nil {
		t.Fatal(err)
	}
	if _, ok := keys(t, open(t, dir))[e.ID]; !ok {
		t.Error("the key is gone")
	}
}

// What a second process that does a step again runs into, whatever the step is.
func TestStepIsNotedOnce(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, err := raw(t, dir).Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (1, 1)"); err == nil {
		t.Error("a step was noted twice")
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(file string) error
	}{
		{"not a database", func(file string) error { return os.WriteFile(file, []byte(strings.Repeat("hello ", 1000)), 0o600) }},
		{"a folder", func(file string) error { return os.Mkdir(file, 0o700) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "sangate.db")
			if err := tt.prepare(file); err != nil {
				t.Fatal(err)
			}
			s, err := store.Open(t.Context(), dir, store.Options{})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), file) {
				t.Errorf("%q does not name the file", err)
			}
		})
	}
	t.Run("a file where the folder should be", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(t.Context(), file, store.Options{}); err == nil {
			t.Error("opened")
		}
	})
	t.Run("told to stop", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := store.Open(ctx, t.TempDir(), store.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

func TestClosedStoreSaysSo(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping of a closed store says nothing")
	}
}
