package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// fewFilesVariable makes the test's own program a gate that runs out of files.
const fewFilesVariable = "SANGATE_TEST_FEW_FILES"

// TestFewFiles is that gate, in a process of its own: the limit is the process's.
func TestFewFiles(t *testing.T) {
	if os.Getenv(fewFilesVariable) == "" {
		t.Skip("another test runs this")
	}
	g := servertest.Start(t, servertest.Options{Log: os.Stderr, Config: withLimits("helloTimeout: 5m, handshakeTimeout: 5m, stallTimeout: 5m")})
	g.Cert("acme").Write(t, g.Dir, "agent")
	g.Write("key", []byte(g.Key("acme")))
	others(t, g) // it serves, and has taken what files there are into account
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = uint64(len(open) + 20)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("gate %s %s\n", g.Addr, g.Dir)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the other test is done
}

// A gate that has no file left for another connection serves those it has, and new ones
// as soon as there are files again.
//
// Holds: stranger/file-limit
func TestOutOfFiles(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestFewFiles$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), fewFilesVariable+"=1")
	var log safeLog
	cmd.Stderr = &log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the gate: %v", err)
		}
	})
	var addr, dir string
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "gate %s %s", &addr, &dir) // the test's own lines are no such
	}
	if addr == "" {
		t.Fatal("the gate did not start")
	}
	key, err := os.ReadFile(dir + "/key")
	if err != nil {
		t.Fatal(err)
	}
	client := func() *http.Client {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: agentTLS(t, dir)}}
		t.Cleanup(c.CloseIdleConnections)
		return c
	}
	tools := func(c *http.Client) {
		t.Helper()
		if res := ask(t, c, http.MethodGet, "https://"+addr+"/tools", "", "Authorization: Bearer "+string(key)); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
	}
	before := client()
	tools(before)
	var silent []net.Conn
	for range 60 { // more than it has files; the system takes them all the same
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	if !servertest.WaitFor(func() bool { return strings.Contains(log.String(), syscall.EMFILE.Error()) }, 20*time.Second) {
		t.Fatalf("it does not run out of files:\n%s", log.String())
	}
	for range 3 {
		tools(before)
	}
	for _, c := range silent {
		_ = c.Close()
	}
	tools(client())
	if n := strings.Count(log.String(), syscall.EMFILE.Error()); n > 5 {
		t.Errorf("%d lines of log, want few: they are counted", n)
	}
}
