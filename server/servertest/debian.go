package servertest

import (
	"os"
	"os/exec"
	"testing"
)

// Debian returns a program of a package of Debian's. CI has it; elsewhere a test is
// skipped that needs what is not there.
func Debian(t testing.TB, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("Debian's %s is not installed", pkg)
	}
	return path
}
