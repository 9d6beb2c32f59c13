package store_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/server/store"
)

func generation(t *testing.T, s *store.Store) int64 {
	t.Helper()
	g, err := s.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g.Number
}

// Each change of keys, revocations and credentials raises the generation, whoever makes
// it; a key that is used, and a mark that is noted, do not.
func TestGeneration(t *testing.T) {
	dir := t.TempDir()
	s, db := open(t, dir), raw(t, dir)
	id := add(t, s, "acme").ID
	seal := func(store.Credential) ([]byte, error) { return []byte("sealed"), nil }
	by := func(statement string) func() error {
		return func() error { _, err := db.Exec(statement); return err }
	}
	for _, tt := range []struct {
		name string
		do   func() error
		want bool
	}{
		{"add key", func() error { add(t, s, "acme"); return nil }, true},
		{"use key", func() error { return s.NoteUse(t.Context(), map[string]time.Time{id: time.Now()}) }, false},
		{"revoke key", func() error { return s.RevokeKey(t.Context(), id, time.Time{}) }, true},
		{"revoked by hand", by(`UPDATE api_keys SET revoked_at = NULL`), true},
		{"key deleted by hand", by(`DELETE FROM api_keys`), true},
		{"deny", func() error { _, _, err := s.AddRevocation(t.Context(), store.Revocation{Entry: "san:x"}); return err }, true},
		{"allow again", func() error { _, err := s.DeleteRevocation(t.Context(), 1); return err }, true},
		{"keys of credentials", func() error {
			return s.AddCredentialKeys(t.Context(), store.CredentialKeys{Generation: 1, Form: 2, Wrapped: []byte{1}})
		}, true},
		{"add credential", func() error {
			_, err := s.AddCredential(t.Context(), store.Credential{Name: "a"}, 1, seal)
			return err
		}, true},
		{"rotate", func() error { _, err := s.UpdateCredential(t.Context(), 1, 0, 1, seal); return err }, true},
		{"delete", func() error { _, err := s.DeleteCredential(t.Context(), 1, 0); return err }, true},
		{"mark", func() error { return s.SetMarked(t.Context(), store.MarkedSealed) }, false},
	} {
		before := generation(t, s)
		if err := tt.do(); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if after := generation(t, s); (after > before) != tt.want || after < before {
			t.Errorf("%s: from %d to %d, want a change: %t", tt.name, before, after, tt.want)
		}
	}
}

// What is read of a database that the guard refuses is not returned, whether or not the
// change was noticed before, and nothing is written until the guard accepts it again.
//
// Holds: local/state-older-copy
func TestGuard(t *testing.T) {
	for name, read := range map[string]func(*store.Store) error{
		"keys":        func(s *store.Store) error { _, err := s.Keys(t.Context()); return err },
		"revocations": func(s *store.Store) error { _, err := s.Revocations(t.Context()); return err },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			refused := errors.New("older")
			var behind atomic.Bool
			s.Guard(func(int64) error {
				if behind.Load() {
					return refused
				}
				return nil
			})
			e := add(t, s, "acme")
			if err := read(s); err != nil {
				t.Fatal(err)
			}
			behind.Store(true)
			if err := read(s); !errors.Is(err, refused) || s.Refused() == nil {
				t.Errorf("read: %v", err)
			}
			for what, err := range map[string]error{"ping": s.Ping(t.Context()),
				"write": s.RevokeKey(t.Context(), e.ID, time.Time{})} {
				if !errors.Is(err, refused) {
					t.Errorf("%s: %v", what, err)
				}
			}
			behind.Store(false)
			ctx, cancel := context.WithCancel(t.Context())
			s.Watch(ctx, time.Millisecond, func() error { cancel(); return nil })
			if err := read(s); err != nil || s.Refused() != nil {
				t.Errorf("accepted again: %v", err)
			}
		})
	}
}
