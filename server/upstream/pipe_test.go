package upstream

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestCommandThatReadsNothing checks that no request waits for such a command longer than its own context, and that
// the command is given up.
//
// Holds: upstream/command-that-reads-nothing
func TestCommandThatReadsNothing(t *testing.T) {
	line := []byte(strings.Repeat("x", maxQueued) + "\n")
	in, o, _ := openPipe(t, time.Minute)
	for _, p := range [][]byte{line, []byte("x\n")} {
		if _, err := o.Write(p); err != nil { // nobody reads: it would wait for ever
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.room(ctx); err == nil {
		t.Error("there is room behind a command that reads nothing")
	}
	if _, err := io.CopyN(io.Discard, in, int64(len(line))); err != nil {
		t.Fatal(err)
	}
	if err := o.room(t.Context()); err != nil {
		t.Errorf("no room when it has read: %v", err)
	}

	_, o, written := openPipe(t, time.Millisecond)
	if _, err := o.Write(line); err != nil {
		t.Fatal(err)
	}
	<-written
	if err := o.failure(); err == nil || !strings.Contains(err.Error(), "has not read its input for 1ms") {
		t.Errorf("given up for %v", err)
	}
	if _, err := o.Write(line); err == nil {
		t.Error("it is written to when it was given up")
	}
}

// openPipe returns a pipe to a command, the command's end of it, and what is closed when nothing is written any more.
func openPipe(t *testing.T, stall time.Duration) (in *os.File, o *overPipe, written <-chan struct{}) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	o = newPipe(out, stall)
	ended := make(chan struct{})
	go func() { defer close(ended); o.write() }()
	t.Cleanup(func() {
		_ = o.Close()
		_ = in.Close()
		<-ended
	})
	return in, o, ended
}
