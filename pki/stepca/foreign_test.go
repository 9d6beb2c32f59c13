//go:build unix

package stepca

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestForeignRootsNotTrusted checks that roots which another user could have put in the place of those kept are not read,
// and that no key is kept in a folder of another user.
//
// Holds: local/kept-files
func TestForeignRootsNotTrusted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to another user")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := readRoots(file); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("roots of another user: %v, want an error", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/ssl/certs/ca-certificates.crt", file); err != nil {
		t.Fatal(err)
	}
	if _, err := readRoots(file); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a link in place of the roots: %v, want an error", err)
	}
}
