//go:build !unix

package devca

import (
	"os"
	"path/filepath"
)

// lock only makes the file here; bbolt's own lock on the database refuses the
// second process.
func lock(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
}
