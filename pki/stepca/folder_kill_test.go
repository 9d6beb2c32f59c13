package stepca_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/stepca"
)

const saverDir = "STEPCA_TEST_SAVER_DIR"

// TestSaver is no test but the process that TestFolderKilled kills: it saves
// pairs until its end.
func TestSaver(t *testing.T) {
	dir := os.Getenv(saverDir)
	if dir == "" {
		t.SkipNow()
	}
	ca := pkitest.NewCA(t, "ours")
	pairs := []*stepca.Pair{newPair(t, ca, pkitest.Leaf{}), newPair(t, ca, pkitest.Leaf{})}
	fmt.Println("saving")
	for i := 0; ; i++ {
		if err := (stepca.Folder{Dir: dir}).Save(pairs[i%2]); err != nil {
			t.Fatal(err)
		}
	}
}

// kill -9 fifty times, at any moment: there is always a pair, by Load and by
// the link, and what was left lying is cleaned up.
func TestFolderKilled(t *testing.T) {
	t.Parallel()
	f := stepca.Folder{Dir: filepath.Join(t.TempDir(), "gate")}
	if err := f.Save(newPair(t, pkitest.NewCA(t, "ours"), pkitest.Leaf{})); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSaver$")
		cmd.Env = append(os.Environ(), saverDir+"="+f.Dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 16)); err != nil {
			t.Fatalf("the saver did not start: %v", err)
		}
		time.Sleep(rand.N(5 * time.Millisecond)) // the moment is meant to be any
		cmd.Process.Kill()
		cmd.Wait()
		if _, err := stepca.ReadFiles(f.Cert(), filepath.Join(filepath.Dir(f.Cert()), "tls.key")); err != nil {
			t.Fatalf("kill %d, by the link: %v", i, err)
		}
		if _, err := f.Load(); err != nil {
			t.Fatalf("kill %d: %v", i, err)
		}
	}
	if err := f.Save(newPair(t, pkitest.NewCA(t, "ours"), pkitest.Leaf{})); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(f.Dir); err != nil || len(left) != 4 {
		t.Errorf("left: %v, %v", left, err)
	}
}
