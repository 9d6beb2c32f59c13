package steptest

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A tool is a program of the step family, pinned in tools/go.mod.
type tool struct{ name, module, pkg string }

var (
	stepCA = tool{"step-ca", "github.com/smallstep/certificates", "github.com/smallstep/certificates/cmd/step-ca"}
	step   = tool{"step", "github.com/smallstep/cli", "github.com/smallstep/cli/cmd/step"}
)

// path returns the program in the version that is pinned, from
// UserCacheDir/sangate-tools, building it there first if need be (a minute or
// two, once).
func (tl tool) path(t testing.TB) string {
	t.Helper()
	tools := filepath.Join(moduleRoot(t), "tools")
	want := goCommand(t, "list", "-C", tools, "-m", "-f", "{{.Version}}", tl.module)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("steptest: no folder to keep %s in: %v; set HOME or XDG_CACHE_HOME", tl.name, err)
	}
	dir := filepath.Join(cache, "sangate-tools")
	bin := filepath.Join(dir, tl.name)
	if info, err := buildinfo.ReadFile(bin); err == nil && info.Main.Path == tl.module && info.Main.Version == want {
		return bin
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("steptest: %v", err)
	}
	// Test processes of other packages may build it, too: the last rename wins.
	tmp := fmt.Sprintf("%s.%d.tmp", bin, os.Getpid())
	defer os.Remove(tmp)
	t.Logf("steptest: building %s %s into %s", tl.name, want, dir)
	goCommand(t, "build", "-C", tools, "-o", tmp, tl.pkg)
	if err := os.Rename(tmp, bin); err != nil {
		t.Fatalf("steptest: %v", err)
	}
	return bin
}

// moduleRoot is where go.mod of the module under test is.
func moduleRoot(t testing.TB) string {
	t.Helper()
	mod := goCommand(t, "env", "GOMOD")
	if mod == "" || mod == os.DevNull {
		t.Fatal("steptest: not inside a Go module; run the tests from the checkout")
	}
	return filepath.Dir(mod)
}

// goCommand runs go without cgo, which step-ca cannot be built with here
// (libpcsclite), and returns what it prints.
func goCommand(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("steptest: go %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// Programs returns where step and step-ca are, by name, for tests that run them
// on their own.
func Programs(t testing.TB) map[string]string {
	t.Helper()
	return map[string]string{stepCA.name: stepCA.path(t), step.name: step.path(t)}
}
