//go:build unix

package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestForeignAuditFileRefused checks files and folders that another user could change or replace.
//
// Holds: local/audit-file
func TestForeignAuditFileRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to another user")
	}
	for name, tt := range map[string]struct {
		prepare func(file string) error
		want    string
	}{
		"ours":            {func(string) error { return nil }, ""},
		"of another user": {func(file string) error { return os.Chown(file, 65534, 65534) }, "another user"},
		"for all":         {func(file string) error { return os.Chmod(file, 0o666) }, "writable"},
		"folder for all":  {func(file string) error { return os.Chmod(filepath.Dir(file), 0o777) }, "writable"},
		"another's folder": {func(file string) error {
			return os.Chown(filepath.Dir(file), 65534, 65534)
		}, "another user"},
		"hard link": {func(file string) error { return os.Link(file, file+".other") }, ""},
		"hard link in a folder for all": {func(file string) error {
			if err := os.Link(file, file+".other"); err != nil {
				return err
			}
			return os.Chmod(filepath.Dir(file), 0o777|os.ModeSticky)
		}, "hard link"},
		"sticky folder": {func(file string) error { return os.Chmod(filepath.Dir(file), 0o777|os.ModeSticky) }, ""},
		"link": {func(file string) error {
			if err := os.Rename(file, file+".target"); err != nil {
				return err
			}
			return os.Symlink(file+".target", file)
		}, "link"},
	} {
		file := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := tt.prepare(file); err != nil {
			t.Fatal(err)
		}
		l, err := Open(Options{File: file})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Open = %v, want %q", name, err, tt.want)
		}
		if err == nil {
			l.Close()
		}
	}
}
