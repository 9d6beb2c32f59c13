//go:build linux

package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
)

// answersAndEnds is a shell script that answers initialize and tools/list, and ends.
const answersAndEnds = `while read -r m; do
id=$(expr "$m" : '.*"id":\([0-9]*\)')
case $m in
*'"initialize"'*) echo '{"jsonrpc":"2.0","id":'$id',"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}}';;
*'"tools/list"'*) echo '{"jsonrpc":"2.0","id":'$id',"result":{"tools":[]}}'; exit;;
*'"server/discover"'*) echo '{"jsonrpc":"2.0","id":'$id',"error":{"code":-32601,"message":"no"}}';;
esac
done
`

// command returns an upstream that is a shell script, and how often it was started.
func command(t *testing.T, script string) (s *Server, started func() int) {
	t.Helper()
	starts := filepath.Join(t.TempDir(), "starts")
	s = quietServer()
	s.conf.Command = []string{"/bin/sh", "-c", fmt.Sprintf("echo >>%s\n%s", starts, script)}
	s.conf.Protocol, s.conf.Refresh = config.ProtocolStdio, time.Hour
	s.wake, s.stopped = make(chan struct{}, 1), make(chan struct{})
	s.opts.Changed, s.opts.OnCycle = func() {}, func(string, error) {}
	return s, func() int {
		data, _ := os.ReadFile(starts)
		return strings.Count(string(data), "\n")
	}
}

// TestCommandThatEndsIsPaced checks that a command which answers and ends, each time, is not started again and again.
//
// Holds: upstream/command-restarts
func TestCommandThatEndsIsPaced(t *testing.T) {
	s, started := command(t, answersAndEnds)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(s.state().Problem, "2 times within 1m0s of its start"); {
		if time.Now().After(end) {
			t.Fatalf("started %d times; its state: %+v", started(), s.state())
		}
		time.Sleep(time.Millisecond)
	}
	if n := started(); n != 2 {
		t.Errorf("started %d times, want 2", n)
	}
	stop()
	<-done
}

func TestRestarts(t *testing.T) {
	var r restarts
	now := time.Unix(1000, 0)
	for i, want := range []time.Duration{0, 1, 2, 4, 8, 16, 32, 60, 60} {
		r.note(time.Second, now)
		if err := r.due(now.Add(want*time.Second - 1)); (err != nil) != (want > 0) {
			t.Errorf("%d: before %ds: %v", i, want, err)
		}
		if err := r.due(now.Add(want * time.Second)); err != nil {
			t.Errorf("%d: after %ds: %v", i, want, err)
		}
	}
	r.note(time.Minute, now)
	if err := r.due(now); err != nil {
		t.Errorf("one that ran for a minute: %v", err)
	}
}

// TestCommandThatLeavesItsGroup checks that a command is ended that is in another process group than the one it was
// given.
//
// Holds: upstream/command-restarts
func TestCommandThatLeavesItsGroup(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("it takes python3 to leave a process group")
	}
	cmd := exec.Command(python, "-c", "import os,time\nos.setpgid(0,os.getpgid(os.getppid()))\nprint('left',flush=True)\ntime.sleep(1000)")
	p, err := start(cmd, slog.New(slog.DiscardHandler), credential.NewScrubber())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.out.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); p.stop() }()
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Error("it was not ended")
		if err := cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
			<-stopped
		}
	}
}

// TestLooksLeaveTime checks that an upstream which always has something new takes part of one processor only.
//
// Holds: upstream/looks-paced
func TestLooksLeaveTime(t *testing.T) {
	for _, tt := range []struct{ took, vetting, want time.Duration }{
		{time.Millisecond, 0, minGap},
		{time.Second, 0, 4 * time.Second},
		{time.Second, time.Second, 20 * time.Second},
		{30 * time.Second, 0, time.Minute},
	} {
		if got := gap(tt.took, tt.vetting); got != tt.want {
			t.Errorf("a look of %v with %v of vetting: the next begins after %v, want %v", tt.took, tt.vetting, got, tt.want)
		}
	}
}
