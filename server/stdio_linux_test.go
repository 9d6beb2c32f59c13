package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// A command that dies is started again; one that does not want to end is ended
// with all it has started; and of the gate's environment it sees nothing.
func TestStdioUpstream(t *testing.T) {
	bin := filepath.Join(servertest.Node(t), "node_modules", ".bin", "mcp-server-everything")
	dir := t.TempDir()
	script := filepath.Join(dir, "stubborn")
	pids := filepath.Join(dir, "pids")
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\ntrap '' TERM\nsleep 1000 & echo $! >>%s\n%s stdio\nwait\n", pids, bin), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SANGATE_TEST_KEK", "hunter2")
	started := func() (out []int) {
		data, _ := os.ReadFile(pids)
		for line := range strings.Lines(string(data)) {
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, pid)
		}
		return out
	}
	alive := func(pid int) bool { return syscall.Kill(pid, 0) == nil }

	g := behind(t, servertest.Options{}, `{allow: ["s_echo", "s_get-env"]}`,
		fmt.Sprintf("{name: stubborn, prefix: s_, command: [%s], env: {GREETING: hello}, refresh: 1s}", script))
	wantListed(t, g, "acme", "s_echo s_get-env")
	status, body := callTool(t, g, "acme", "s_get-env", `{}`)
	if status != http.StatusOK || !strings.Contains(body, "GREETING") || strings.Contains(body, "hunter2") {
		t.Errorf("its environment: %d %s", status, body)
	}
	first := started()[0]
	if err := syscall.Kill(parentOf(t, first), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !servertest.WaitFor(func() bool {
		status, _ := callTool(t, g, "acme", "s_echo", `{"message":"x"}`)
		return status == http.StatusOK && len(started()) > 1
	}, 30*time.Second) {
		t.Fatal("it was not started again")
	}
	<-g.Stop()
	for _, pid := range started() {
		if !servertest.WaitFor(func() bool { return !alive(pid) }, 5*time.Second) {
			t.Errorf("process %d is left behind", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return parent
}
