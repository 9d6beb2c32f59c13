package audit

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDevFull(t *testing.T) {
	l, w := open(t, Options{File: "/dev/full", MaxSize: 1})
	for i := range 100 {
		l.Write(record(i))
	}
	if len(w.errs) != 100 || !errors.Is(w.errs[99], syscall.ENOSPC) {
		t.Errorf("%d errors", len(w.errs))
	}
	if got := w.logged.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "no space left on device") {
		t.Errorf("told %q", got)
	}
	if l.out.(*file).open != nil {
		t.Error("what went wrong is still open, not to be opened anew")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if got := w.logged.String(); !strings.Contains(got, "records=99 ") {
		t.Errorf("told %q", got)
	}
}

// limitedProcess fills a file to its limit, which cuts a line, and writes on
// when there is room again.
func limitedProcess() {
	signal.Ignore(syscall.SIGXFSZ)
	var lost int
	l, err := Open(Options{File: flag.Arg(0), OnError: func(err error) {
		if errors.Is(err, syscall.EFBIG) {
			lost++
		}
	}})
	if err != nil {
		panic(err)
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		panic(err)
	}
	limit := func(cur uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: cur, Max: was.Max}); err != nil {
			panic(err)
		}
	}
	limit(1000)
	for i := range 50 {
		l.Write(record(i))
	}
	limit(1003) // room for the newline and two bytes of the next
	l.Write(record(50))
	limit(1004)
	l.Write(record(50))
	limit(was.Max)
	l.Write(record(51))
	l.Write(record(52))
	if err := l.Close(); err != nil {
		panic(err)
	}
	fmt.Println(lost)
}

func TestFullDiskCutsALine(t *testing.T) {
	if os.Getenv(asProcess) != "" {
		limitedProcess()
		return
	}
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	out, err := process(t, file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, torn, empty := ids(t, file)
	n := len(got)
	if n < 10 || got[n-2] != "51" || got[n-1] != "52" || torn < 2 || empty > 0 || !strings.HasPrefix(string(out), fmt.Sprintln(54-n)) {
		t.Errorf("%s lost, %d lines, %d cut, %d empty: %q", out, n, torn, empty, read(t, file)[900:])
	}
}
