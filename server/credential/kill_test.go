package credential_test

import (
	"bufio"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/store"
)

const writerDir, writerFrom = "CREDENTIAL_TEST_WRITER_DIR", "CREDENTIAL_TEST_WRITER_FROM"

// TestWriter is no test but the process that TestKilled kills: it writes
// credentials until its end, and says what before and after each.
func TestWriter(t *testing.T) {
	dir := os.Getenv(writerDir)
	if dir == "" {
		t.SkipNow()
	}
	var n int
	fmt.Sscan(os.Getenv(writerFrom), &n)
	v := vault(t, dir)
	ids := make(map[string]int64)
	list, err := v.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		ids[c.Name] = c.ID
	}
	for ; ; n++ {
		if n%11 == 10 {
			if err := v.Rekey(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		name, value := fmt.Sprintf("c%d", n%20), secretOf(n)
		fmt.Println("begin", name, value)
		if id, ok := ids[name]; ok {
			_, err = v.Update(t.Context(), id, value, 0)
		} else {
			var info credential.Info
			info, err = v.Add(t.Context(), &credential.Secret{Name: name, Tenant: "acme", Type: credential.APIKey, Value: value}, "", "test")
			ids[name] = info.ID
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("done", name, value)
	}
}

func secretOf(n int) string { return fmt.Sprintf("TOPSECRET-%d-hunter2", n) }

// kill -9 at any point of 500 writes: each credential has the value that was
// acknowledged last, or the one that was being written. In the files of the
// database there is no secret.
//
// Holds: operator/killed-while-writing
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	vault(t, dir)
	acked, begun := make(map[string]string), make(map[string]string)
	writes, kills := 0, 0
	for writes < 500 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWriter$")
		cmd.Env = append(os.Environ(), writerDir+"="+dir, fmt.Sprintf("%s=%d", writerFrom, writes))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		take := func() bool {
			if !lines.Scan() {
				return false
			}
			what, rest, _ := strings.Cut(lines.Text(), " ")
			name, value, _ := strings.Cut(rest, " ")
			switch what {
			case "begin":
				begun[name] = value
			case "done":
				acked[name] = value
				writes++
			default:
				t.Fatalf("the writer says %q", lines.Text())
			}
			return true
		}
		for range rand.N(30) {
			if !take() {
				t.Fatal("the writer ended by itself")
			}
		}
		time.Sleep(rand.N(3 * time.Millisecond)) // the moment is meant to be any
		cmd.Process.Kill()
		for take() { // what it had said by then
		}
		cmd.Wait()
		kills++
		verify(t, dir, acked, begun)
	}
	if kills < 10 {
		t.Errorf("only %d kills", kills)
	}
	t.Logf("%d writes, %d kills", writes, kills)
	for _, file := range []string{"sangate.db", "sangate.db-wal"} {
		data, err := os.ReadFile(dir + "/" + file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "TOPSECRET") || strings.Contains(string(data), "hunter2") {
			t.Errorf("%s holds a secret", file)
		}
	}
}

func verify(t *testing.T, dir string, acked, begun map[string]string) {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v := credential.New(s, "file:"+dir+"/kek", slog.New(slog.DiscardHandler))
	for name, value := range acked {
		got, err := v.Resolve(t.Context(), credential.Ref{Tenant: "acme", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if got.Value != value && got.Value != begun[name] {
			t.Fatalf("%s is %q; acknowledged was %q, begun %q", name, got.Value, value, begun[name])
		}
		acked[name] = got.Value
	}
	list, err := v.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if _, err := v.Resolve(t.Context(), credential.Ref{ID: c.ID}); err != nil {
			t.Fatal(err)
		}
	}
}
