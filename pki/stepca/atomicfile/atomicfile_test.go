package atomicfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

// What cannot be replaced together leaves the old, and no new private key
// lying about.
func TestReplaceFails(t *testing.T) {
	tests := []struct {
		name   string
		second func(dir string) string // name of the second file
	}{
		{"second cannot be staged", func(dir string) string { return filepath.Join(dir, "missing", "crt") }},
		{"first cannot be swapped", func(dir string) string {
			os.Remove(filepath.Join(dir, "key"))
			os.MkdirAll(filepath.Join(dir, "key", "not empty"), 0o700)
			return filepath.Join(dir, "crt")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			key := filepath.Join(dir, "key")
			if err := os.WriteFile(key, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			second := tt.second(dir)
			if err := atomicfile.Replace(atomicfile.File{Name: key, Data: []byte("new"), Perm: 0o600}, atomicfile.File{Name: second, Data: []byte("new"), Perm: 0o644}); err == nil {
				t.Fatal("replaced")
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 1 || left[0].Name() != "key" {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}
