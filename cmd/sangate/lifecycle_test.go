package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/stepca/steptest"
)

// A step is one block of the page and what it says is printed.
type step struct{ commands, prints string }

// The walk through a certificate's life is done as the page has it, in one shell,
// with the real step, step-ca and sangate; only its ports are others.
func TestLifecycleIsRun(t *testing.T) {
	steps := walk(t, "../../docs/lifecycle.md")
	if len(steps) < 8 {
		t.Fatalf("%d blocks on the page; has it moved?", len(steps))
	}
	scripts, err := filepath.Abs("../../scripts")
	if err != nil {
		t.Fatal(err)
	}
	steps[0].commands = fmt.Sprintf("SCRIPTS=%s CA=%s GATE=%s ADMIN=%s\n", scripts, freePort(t), freePort(t), freePort(t))
	dir := t.TempDir()
	var script strings.Builder
	script.WriteString("set -eu\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n")
	for i, s := range steps {
		fmt.Fprintf(&script, "echo '@@ %d'\n%s", i, s.commands)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-s")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(script.String())
	cmd.Env = []string{"HOME=" + dir, "PATH=" + tools(t) + ":" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		logs := ""
		for _, name := range []string{"ca.log", "gate.log", "setup.txt"} {
			data, _ := os.ReadFile(filepath.Join(dir, name))
			logs += fmt.Sprintf("--- %s\n%s\n", name, data[max(0, len(data)-3000):])
		}
		t.Fatalf("%v\n%s\n%s\n%s", err, out.String(), errs.String(), logs)
	}
	printed := strings.Split(out.String(), "@@ ")[1:]
	for i, s := range steps {
		_, got, _ := strings.Cut(printed[i], "\n")
		if !matches(s.prints, got) {
			t.Errorf("block %d\n%s\nprints\n%s\nand the page says\n%s", i, s.commands, got, s.prints)
		}
	}
}

// walk returns the bash blocks of a page with the text block that follows each.
func walk(t *testing.T, page string) (steps []step) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	in := ""
	for line := range strings.Lines(string(text)) {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && in != "":
			in = ""
		case isFence:
			if in = fence; fence == "bash" {
				steps = append(steps, step{})
			}
		case in == "bash":
			steps[len(steps)-1].commands += line
		case in == "text":
			steps[len(steps)-1].prints += line
		}
	}
	return steps
}

// matches compares line by line; … stands for anything on its line, and blanks
// for as many of them.
func matches(want, got string) bool {
	pattern := regexp.QuoteMeta(strings.TrimSpace(want))
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	pattern = regexp.MustCompile(` +`).ReplaceAllString(pattern, " +")
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(strings.TrimSpace(got))
}

// tools returns a folder with the programs that the page needs, sangate from
// this tree.
func tools(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "noawskms,noazurekms,nocloudkms,nobadger,nomysql", "-o", filepath.Join(dir, "sangate"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, path := range steptest.Programs(t) {
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// freePort returns a loopback address nothing listens on. It is below the ports
// that systems give to outgoing connections: what is stopped here and started
// again finds its port free.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", addr); err == nil {
			defer l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}
