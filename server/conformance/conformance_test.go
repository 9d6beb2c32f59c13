// Package conformance runs the conformance suite of the Model Context Protocol
// through a gate, by mTLS and a token, and the official Go SDK's own server beside
// it: the gate passes no fewer checks. `make conformance` prints how many.
package conformance

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// everything has the tenant acme see all there is.
func everything(yaml string) string {
	return strings.Replace(yaml, "acme/*\"]", "acme/*\"]\n    tools: {allow: [\"*\"]}", 1)
}

// revisions are what is run: a suite, and the revision it checks. passed is what
// the gate has passed before, and no run may fall below.
var revisions = []struct {
	name, suite string
	args        []string
	passed      int
}{
	{"2026-07-28", "conformance-2026", []string{"--requirements", "2026-07-28"}, 165},
	{"2025-11-25", "conformance-2026", []string{"--requirements", "2025-11-25"}, 64},
	{"2025-11-25 (suite 0.1.16)", "conformance-2025", nil, 26},
}

func TestConformance(t *testing.T) {
	node := servertest.Node(t)
	g := begin(t)
	reference := startReference(t)
	g.Cert("acme").Write(t, g.Dir, "agent")
	g.Write("agent.token", []byte(g.Key("acme")))
	_, port, err := net.SplitHostPort(g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	preload, err := filepath.Abs("../../tools/node/mtls-preload.mjs")
	if err != nil {
		t.Fatal(err)
	}
	through := []string{"NODE_OPTIONS=--import " + preload, "NODE_TOOLS=" + node, "GATE=localhost:" + port,
		"GATE_CA=" + filepath.Join(g.Dir, "ca.crt"), "GATE_CERT=" + filepath.Join(g.Dir, "agent.crt"),
		"GATE_KEY=" + filepath.Join(g.Dir, "agent.key"), "GATE_TOKEN_FILE=" + filepath.Join(g.Dir, "agent.token")}
	for _, r := range revisions {
		main := filepath.Join(node, "node_modules", r.suite, "dist", "index.js")
		theirs := run(t, main, reference, r.args, through) // which the preload passes over
		ours := run(t, main, "https://localhost:"+port+"/mcp", r.args, through)
		fmt.Printf("conformance: %s passed %d failed %d\n", r.name, ours.passed, ours.failed)
		if ours.passed < theirs.passed || ours.passed < r.passed {
			t.Errorf("%s: the gate passes %d checks; the SDK's own server passes %d, the gate has passed %d before\n%s",
				r.name, ours.passed, theirs.passed, r.passed, ours.output)
		}
	}
}

// A score is how a run of the suite has ended.
type score struct {
	passed, failed int
	output         string
}

var total = regexp.MustCompile(`(?m)^Total: (\d+) passed, (\d+) failed`)

func run(t *testing.T, main, url string, args, env []string) score {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{main, "server", "--url", url}, args...)...)
	cmd.Env, cmd.Dir = append(os.Environ(), env...), t.TempDir()
	out, err := cmd.CombinedOutput() // an error says that something failed, too
	found := total.FindSubmatch(out)
	if found == nil {
		t.Fatalf("the suite did not end against %s: %v\n%s", url, err, out)
	}
	passed, err1 := strconv.Atoi(string(found[1]))
	failed, err2 := strconv.Atoi(string(found[2]))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return score{passed, failed, string(out)}
}

// startReference runs the server that the SDK has for this suite, without mTLS,
// until the test ends, and returns its address.
func startReference(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "reference")
	build := exec.Command("go", "build", "-o", bin, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the SDK's server: %v\n%s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-http", addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	if !servertest.WaitFor(func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 10*time.Second) {
		t.Fatal("the SDK's server does not listen")
	}
	return "http://" + addr + "/"
}
