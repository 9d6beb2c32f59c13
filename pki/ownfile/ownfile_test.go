//go:build unix

package ownfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/ownfile"
)

// Holds: local/foreign-folder
func TestForeignFoldersRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(dir string) error
		want    string // "": taken
	}{
		"ours":          {func(string) error { return nil }, ""},
		"writable":      {func(dir string) error { return os.Chmod(dir, 0o777) }, "writable"},
		"sticky":        {func(dir string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }, "writable"},
		"for the group": {func(dir string) error { return os.Chmod(dir, 0o770) }, "writable"},
		"a parent":      {func(dir string) error { return os.Chmod(filepath.Dir(dir), 0o777) }, "writable"},
		"sticky parent": {func(dir string) error { return os.Chmod(filepath.Dir(dir), 0o777|os.ModeSticky) }, ""},
		"somebody else": {func(dir string) error { return os.Chown(dir, 12345, 12345) }, "another user"},
		"a parent's":    {func(dir string) error { return os.Chown(filepath.Dir(dir), 12345, 12345) }, "another user"},
		"a file":        {func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), nil, 0o666) }, ""},
		"a link to one": {func(dir string) error {
			to := filepath.Join(filepath.Dir(dir), "to")
			if err := os.Mkdir(to, 0o700); err != nil {
				return err
			}
			if err := os.Chmod(to, 0o777); err != nil {
				return err
			}
			return os.Symlink(to, filepath.Join(dir, "at"))
		}, ""},
	} {
		dir := filepath.Join(t.TempDir(), "dir")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := tt.prepare(dir); err != nil {
			if os.Geteuid() != 0 && strings.Contains(err.Error(), "not permitted") {
				continue // only root gives files away
			}
			t.Fatal(err)
		}
		if got := ownfile.CheckDir(dir); (got == nil) != (tt.want == "") || got != nil && !strings.Contains(got.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, got, tt.want)
		}
		if name == "a link to one" {
			if got := ownfile.CheckDir(filepath.Join(dir, "at")); got == nil {
				t.Errorf("%s: taken", name)
			}
		}
	}
}
