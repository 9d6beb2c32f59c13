package servertest

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A Browser is a real Chromium that looks at the console; tools/node/console.mjs
// has what can be asked of it.
type Browser struct {
	t    testing.TB
	in   io.Writer
	out  *bufio.Reader
	kill func() error
}

// answerWithin is how long one command may take, on a machine that is busy.
const answerWithin = 2 * time.Minute

// An Answer is what came of one command.
type Answer struct {
	Error                string
	Status               int
	Title, Text, URL, At string
	Wide                 bool
	MS                   float64
	Violations, Troubles []string
}

// NewBrowser starts one until the test ends.
func NewBrowser(t testing.TB) *Browser {
	t.Helper()
	chromium := Debian(t, "chromium", "chromium")
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", filepath.Join(filepath.Dir(string(mod)), "tools", "node", "console.mjs"), chromium)
	cmd.Env = append(os.Environ(), "NODE_TOOLS="+Node(t))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
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
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the browser: %v", err)
		}
	})
	return &Browser{t, in, bufio.NewReader(out), cmd.Process.Kill}
}

// In is the same browser for a test within the one that started it.
func (b *Browser) In(t testing.TB) *Browser {
	inner := *b
	inner.t = t
	return &inner
}

// Do sends one command, with pairs of name and value, and returns what came of it.
func (b *Browser) Do(name string, pairs ...any) Answer {
	b.t.Helper()
	command := map[string]any{"do": name}
	for i := 0; i+1 < len(pairs); i += 2 {
		command[pairs[i].(string)] = pairs[i+1]
	}
	line, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	patience := time.AfterFunc(answerWithin, func() { _ = b.kill() }) // the answer then ends
	defer patience.Stop()
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		b.t.Fatal(err)
	}
	var a Answer
	answer, err := b.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(answer, &a)
	}
	if err != nil {
		b.t.Fatalf("%s: %v", line, err)
	}
	if a.Error != "" {
		b.t.Errorf("%s: %s", line, a.Error)
	}
	return a
}
