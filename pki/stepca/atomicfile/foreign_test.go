//go:build unix

package atomicfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

// TestForeignFolderNotWrittenTo checks folders in which another user could replace a private key, and links that
// another user left in one where only that user can.
//
// Holds: local/written-files
func TestForeignFolderNotWrittenTo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to another user")
	}
	for name, tt := range map[string]struct {
		prepare func(dir string) error
		want    string
	}{
		"for all":         {func(dir string) error { return os.Chmod(dir, 0o777) }, "writable"},
		"of another user": {func(dir string) error { return os.Chown(dir, 65534, 65534) }, "another user"},
		"sticky":          {func(dir string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }, ""},
	} {
		dir := t.TempDir()
		if err := tt.prepare(dir); err != nil {
			t.Fatal(err)
		}
		err := atomicfile.Write(filepath.Join(dir, "tls.key"), []byte("key"), 0o600)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if left, err := os.ReadDir(dir); tt.want != "" && (err != nil || len(left) > 0) {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

// TestLinksReplaced checks that a link at the name, or where the new content waits, is not followed.
//
// Holds: local/written-files
func TestLinksReplaced(t *testing.T) {
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, []byte("theirs"), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "tls.key")
	for _, name := range []string{file, atomicfile.Staged(file)} {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := atomicfile.Write(file, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v, want a file of mode 0600", info, err)
	}
	data, err := os.ReadFile(target)
	if info, _ := os.Stat(target); err != nil || string(data) != "theirs" || info.Mode().Perm() != 0o644 {
		t.Errorf("the link's target is now %q, %v, %v", data, info, err)
	}
}
