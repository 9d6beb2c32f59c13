package store_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/store"
)

// The test binary is its own second process: with these set it does as told.
const (
	envDir = "SANGATE_TEST_STORE"
	envAdd = "SANGATE_TEST_ADD" // how many keys; below zero: until killed
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		n, _ := strconv.Atoi(os.Getenv(envAdd))
		if err := child(dir, n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child opens the store when its standard input ends, adds n keys and revokes
// every second one. It says so, a line each, after the store has said so.
func child(dir string, n int) error {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	ctx := context.Background()
	s, err := store.Open(ctx, dir, store.Options{})
	if err != nil {
		return err
	}
	for i := 0; i != n; i++ {
		key, id, err := apikey.Mint()
		if err != nil {
			return err
		}
		if err := s.AddKey(ctx, apikey.Entry{ID: id, Tenant: "acme", Digest: apikey.Digest(key)}, "a child's"); err != nil {
			return err
		}
		fmt.Println("added", id)
		if i%2 == 1 {
			if err := s.RevokeKey(ctx, id, time.Now()); err != nil {
				return err
			}
			fmt.Println("revoked", id)
		}
	}
	return s.Close()
}

// A process is a child that waits for start.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	lines  *bufio.Scanner
	stderr strings.Builder
	acked  map[string]string // id → the last that was said of it
}

func newProcess(t *testing.T, dir string, n int) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.CommandContext(t.Context(), exe), acked: map[string]string{}}
	p.cmd.Env = append(os.Environ(), envDir+"="+dir, envAdd+"="+strconv.Itoa(n))
	p.cmd.Stderr = &p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.stdin, p.lines = stdin, bufio.NewScanner(stdout)
	return p
}

func (p *process) start() { p.stdin.Close() }

// read takes n lines, or all there are.
func (p *process) read(n int) {
	for i := 0; i != n && p.lines.Scan(); i++ {
		what, id, ok := strings.Cut(p.lines.Text(), " ")
		if ok && len(id) == 11 { // a kill may have cut the last line
			p.acked[id] = what
		}
	}
}

func (p *process) wait() error {
	p.read(-1)
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, p.stderr.String())
	}
	return nil
}

// intact holds the store against what was acknowledged.
func intact(t *testing.T, dir string, acked map[string]string) {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	there := keys(t, s)
	for id, what := range acked {
		if r, ok := there[id]; !ok {
			t.Errorf("key %s was acknowledged and is lost", id)
		} else if what == "revoked" && r.RevokedAt.IsZero() {
			t.Errorf("the revocation of %s was acknowledged and is lost", id)
		}
	}
	var verdict string
	if err := raw(t, dir).QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity_check: %q %v", verdict, err)
	}
}

// Processes that open a fresh folder at once all get in, and none loses what
// another writes.
func TestProcessesAtOnce(t *testing.T) {
	const each = 20
	for _, n := range []int{2, 2, 2, 2, 6} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			var ps []*process
			for range n {
				ps = append(ps, newProcess(t, dir, each))
			}
			for _, p := range ps {
				p.start()
			}
			acked := map[string]string{}
			for _, p := range ps {
				if err := p.wait(); err != nil {
					t.Error(err)
				}
				for id, what := range p.acked {
					acked[id] = what
				}
			}
			var steps int
			if err := raw(t, dir).QueryRow("SELECT count(*) FROM goose_db_version WHERE version_id = 1").Scan(&steps); err != nil || steps != 1 {
				t.Errorf("the first step is noted %d times: %v", steps, err)
			}
			if len(acked) != n*each {
				t.Errorf("%d keys were acknowledged, want %d", len(acked), n*each)
			}
			intact(t, dir, acked)
		})
	}
}

// kill -9 at any point: what was acknowledged is there, and the database whole.
func TestKilledWriter(t *testing.T) {
	dir, acked := filepath.Join(t.TempDir(), "state"), map[string]string{}
	for round := range 50 {
		fresh := round%5 == 0 // killed while the schema is made
		if fresh {
			dir, acked = filepath.Join(t.TempDir(), "state"), map[string]string{}
		}
		p := newProcess(t, dir, -1)
		p.start()
		if fresh {
			appears(t, filepath.Join(dir, []string{"sangate.db", "sangate.db-wal"}[round/5%2]))
		} else {
			p.read(round % 7)
		}
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := p.wait(); err == nil || p.stderr.Len() > 0 {
			t.Fatalf("round %d: the writer ended by itself: %v", round, err)
		}
		for id, what := range p.acked {
			acked[id] = what
		}
		intact(t, dir, acked)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	if len(acked) == 0 {
		t.Error("nothing was ever acknowledged")
	}
}

// appears spins until there is such a file, to be there right after.
func appears(t *testing.T, file string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if _, err := os.Stat(file); err == nil {
			return
		}
	}
	t.Fatalf("%s does not appear", file)
}
