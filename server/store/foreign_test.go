//go:build unix

package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/store"
)

// TestForeignStateRefused checks that no database is made or opened in a folder that another user can change.
//
// Holds: local/state-folder
func TestForeignStateRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to another user")
	}
	for name, tt := range map[string]struct {
		prepare func(dir string) error
		want    string
	}{
		"for all":         {func(dir string) error { return os.Chmod(dir, 0o777) }, "writable"},
		"of another user": {func(dir string) error { return os.Chown(dir, 65534, 65534) }, "another user"},
		"parent for all":  {func(dir string) error { return os.Chmod(filepath.Dir(dir), 0o777) }, "writable"},
	} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := tt.prepare(dir); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), dir, store.Options{})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), filepath.Dir(dir)) {
			t.Errorf("%s: Open = %v, want an error that names the folder and %q", name, err, tt.want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}
