//go:build unix

package credential_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/credential"
)

// TestForeignKEK checks key files that another user could have chosen, and the mount of a Kubernetes secret, which is a
// link to a file that a group can read.
//
// Holds: local/kek-file
func TestForeignKEK(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to another user")
	}
	log := slog.New(slog.DiscardHandler)
	for name, tt := range map[string]struct {
		prepare func(dir, file string) error
		want    string
	}{
		"ours":            {func(_, _ string) error { return nil }, ""},
		"of another user": {func(_, file string) error { return os.Chown(file, 65534, 65534) }, "another user"},
		"for all":         {func(_, file string) error { return os.Chmod(file, 0o666) }, "writable"},
		"for the group":   {func(_, file string) error { return os.Chmod(file, 0o660) }, "writable"},
		"secret mount": {func(dir, file string) error {
			if err := os.Mkdir(filepath.Join(dir, "..2026"), 0o755); err != nil {
				return err
			}
			if err := os.Rename(file, filepath.Join(dir, "..2026", "kek")); err != nil {
				return err
			}
			if err := os.Chmod(filepath.Join(dir, "..2026", "kek"), 0o440); err != nil {
				return err
			}
			if err := os.Symlink("..2026", filepath.Join(dir, "..data")); err != nil {
				return err
			}
			return os.Symlink("..data/kek", file)
		}, ""},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "kek")
		if made, err := credential.CreateKEK("file:" + file); err != nil || !made {
			t.Fatal(made, err)
		}
		if err := tt.prepare(dir, file); err != nil {
			t.Fatal(err)
		}
		kek, err := credential.OpenKEK(t.Context(), "file:"+file, log)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: OpenKEK = %v, want %q", name, err, tt.want)
		}
		if err == nil {
			kek.Close()
		}
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if made, err := credential.CreateKEK("file:" + filepath.Join(dir, "kek")); err == nil || made {
		t.Errorf("CreateKEK in a folder for all = %t, %v, want an error", made, err)
	}
	link, target := filepath.Join(t.TempDir(), "kek"), filepath.Join(t.TempDir(), "target")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	made, _ := credential.CreateKEK("file:" + link)
	if _, err := os.Lstat(target); made || err == nil {
		t.Errorf("CreateKEK followed a link: made %t", made)
	}
}
