package docs_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestNoFixedTemporaryNames checks that no example, script or comment uses a name of its own choice in a folder that all
// users write to: somebody else can be there first.
func TestNoFixedTemporaryNames(t *testing.T) {
	fixed := regexp.MustCompile(`(^|[\s"'=:(` + "`" + `])/(tmp|var/tmp|dev/shm)/[\w.$-]`)
	kinds := []string{".go", ".md", ".sh", ".yaml", ".yml", ".service", ".txtar", ".txt", ".json", ""}
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "testdata", "bin", "certs-dev", "node_modules"}, d.Name()) {
			return filepath.SkipDir
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > 1<<20 || !slices.Contains(kinds, filepath.Ext(name)) {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for i, line := range bytes.Split(data, []byte("\n")) {
			if fixed.Match(line) {
				t.Errorf("%s:%d: a fixed name in a shared folder: %.100s", name, i+1, line)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
