//go:build unix

package revocation_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestForeignKeptListNotUsed checks that a list which another user could have put in the place of the one that was kept,
// such as an older one without a revoked certificate, is not used.
//
// Holds: local/kept-files
func TestForeignKeptListNotUsed(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	ca := newIssuer(t, "ca", nil, nil)
	at := &server{handler: serve(func() []byte { return ca.crl(t, list{this: now}) })}
	down := &server{handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }}
	for name, replace := range map[string]func(file string) error{
		"":                func(string) error { return nil },
		"writable":        func(file string) error { return os.Chmod(file, 0o666) },
		"of another user": func(file string) error { return os.Chown(file, 65534, 65534) },
		"link": func(file string) error {
			if err := os.Rename(file, file+".real"); err != nil {
				return err
			}
			return os.Symlink(file+".real", file)
		},
	} {
		if name == "of another user" && os.Geteuid() != 0 {
			t.Log("only root can give files to another user: skipped that case")
			continue
		}
		dir := filepath.Join(t.TempDir(), "crl")
		if _, err := kept(t, dir, at, clock, ca); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.crl"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if err := replace(files[0]); err != nil {
			t.Fatal(err)
		}
		src, _ := kept(t, dir, down, clock, ca)
		if got := len(src.Lists()); (got == 1) != (name == "") {
			t.Errorf("%q: %d lists in use", name, got)
		}
	}
}
