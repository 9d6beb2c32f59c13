package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/store"
)

// Holds: local/state-link
func TestLinkedDatabaseRefused(t *testing.T) {
	for _, name := range []string{"sangate.db", "sangate.db-wal", "sangate.db-shm"} {
		dir, target := t.TempDir(), filepath.Join(t.TempDir(), "target")
		if err := os.WriteFile(target, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), dir, store.Options{})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: Open = %v, want an error that names the link", name, err)
		}
		info, err := os.Stat(target)
		if err != nil || info.Mode().Perm() != 0o644 || info.Size() != 0 {
			t.Errorf("%s: the target is now %v, %v", name, info, err)
		}
	}
}
