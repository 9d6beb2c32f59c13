package audit

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const perProcess = 2000

// appendProcess writes perProcess records from a number on to a file, from four
// goroutines, rotating it at so many bytes.
func appendProcess() {
	from, _ := strconv.Atoi(flag.Arg(1))
	size, _ := strconv.ParseInt(flag.Arg(2), 10, 64)
	l, err := Open(Options{File: flag.Arg(0), MaxSize: size, Backups: 10000, OnError: func(err error) { panic(err) }})
	if err != nil {
		panic(err)
	}
	fmt.Println("open")
	_, _ = fmt.Scanln() // until all are
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := n; i < perProcess; i += 4 {
				r := record(from + i)
				r.Tool = strings.Repeat("x", i%500)
				l.Write(r)
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		panic(err)
	}
}

// Processes that share a file tear and lose nothing, whether each of them
// rotates it or none.
func TestTwoProcesses(t *testing.T) {
	if os.Getenv(asProcess) != "" {
		appendProcess()
		return
	}
	for name, size := range map[string]string{"never rotated": "-1", "rotated": "20000"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "audit.jsonl")
			const processes = 2
			var cmds []*exec.Cmd
			var start []func() error
			for i := range processes {
				cmd := process(t, file, fmt.Sprint(i*perProcess), size)
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
				if _, err := fmt.Fscanln(out, new(string)); err != nil {
					t.Fatal(err)
				}
				cmds, start = append(cmds, cmd), append(start, in.Close)
			}
			for _, s := range start {
				if err := s(); err != nil {
					t.Error(err)
				}
			}
			for _, cmd := range cmds {
				if err := cmd.Wait(); err != nil {
					t.Error(err)
				}
			}
			files := all(t, file)
			t.Log(once(t, processes*perProcess, files...), "empty lines") // see file.torn
			if n := len(files); (n > 1) != (size != "-1") {
				t.Errorf("%d files", n)
			}
		})
	}
}
