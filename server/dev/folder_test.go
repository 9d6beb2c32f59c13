//go:build unix

package dev_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/dev"
)

// Holds: local/dev-folder
func TestPreparedFolderRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs-dev")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sangate.yaml")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	err := dev.Run(t.Context(), dev.Options{Dir: dir, CA: "127.0.0.1:0", Once: true})
	if err == nil || !strings.Contains(err.Error(), "writable for other users") {
		t.Errorf("a configuration that others can write: Run = %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ca")); err == nil {
		t.Error("a CA was made in it")
	}
}
