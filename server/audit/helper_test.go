package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// asProcess is set in a test's child process.
const asProcess = "SANGATE_AUDIT_TEST_PROCESS"

// process is the running test again, as a child process, which finds the
// arguments in flag.Args.
func process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(t.Context(), exe, append([]string{"-test.run=^" + name + "$"}, args...)...)
	cmd.Env = append(os.Environ(), asProcess+"=1")
	return cmd
}

// A world is what surrounds a log in a test: its clock, what it told.
type world struct {
	mu     sync.Mutex
	now    time.Time
	errs   []error
	logged bytes.Buffer
}

var start = time.Date(2026, 11, 23, 8, 5, 12, 123456789, time.UTC)

// open opens a log on the file, in a world where time stands still.
func open(t *testing.T, opts Options) (*Log, *world) {
	t.Helper()
	w := &world{now: start}
	opts.Now = func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.now
	}
	opts.OnError = func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.errs = append(w.errs, err)
	}
	opts.Logger = slog.New(slog.NewTextHandler(&w.logged, nil))
	l, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, w
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// none fails the test where something was reported.
func (w *world) none(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errs) > 0 {
		t.Errorf("%d errors, the first: %v", len(w.errs), w.errs[0])
	}
}

func record(i int) *Record { return &Record{Kind: Refused, RequestID: fmt.Sprint(i)} }

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// parse decodes one line strictly.
func parse(text []byte) (l line, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return l, d.Decode(&l)
}

// ids are the request ids of all lines in the files, in order. Counted are the
// lines that a reader has to skip.
func ids(t *testing.T, files ...string) (ids []string, torn, empty int) {
	t.Helper()
	for _, file := range files {
		b := read(t, file)
		if len(b) > 0 && b[len(b)-1] != '\n' {
			t.Errorf("%s ends within a line", file)
		}
		for text := range bytes.Lines(b) {
			l, err := parse(text)
			switch {
			case err == nil:
				ids = append(ids, l.RequestID)
			case string(text) == "\n":
				empty++
			default:
				torn++
			}
		}
	}
	return ids, torn, empty
}

// all are the log's file and those rotated, by name.
func all(t *testing.T, file string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(file), "audit*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// once fails the test unless each of the ids 0 to n-1 is in the files exactly
// once, and nothing else is but empty lines, which it returns the number of.
func once(t *testing.T, n int, files ...string) (empty int) {
	t.Helper()
	found, torn, empty := ids(t, files...)
	seen := map[string]int{}
	for _, id := range found {
		seen[id]++
	}
	missing := 0
	for i := range n {
		if seen[fmt.Sprint(i)] != 1 {
			missing++
		}
	}
	if missing > 0 || len(found) != n || torn > 0 {
		t.Errorf("of %d records %d are missing or double, %d lines found, %d torn", n, missing, len(found), torn)
	}
	return empty
}
