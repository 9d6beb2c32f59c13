// Package progress tells people how far a long command is: on a terminal by a line
// that is written over, elsewhere by a plain line now and then. What takes less
// than a second says nothing.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// How often it tells: a person, and a file.
const (
	everyScreen = 100 * time.Millisecond
	everyFile   = 5 * time.Second
	first       = time.Second
	width       = 30 // of the bar
)

// A Line tells of one task. Not for concurrent use.
type Line struct {
	out      io.Writer
	terminal bool
	what     string
	began    time.Time
	told     time.Time // zero: nothing yet
	now      func() time.Time
}

// New begins a task. out is where it tells: a terminal or not is found out.
func New(out io.Writer, what string) *Line {
	f, ok := out.(*os.File)
	return newLine(out, what, ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())), time.Now)
}

func newLine(out io.Writer, what string, terminal bool, now func() time.Time) *Line {
	return &Line{out: out, terminal: terminal, what: what, began: now(), now: now}
}

// At tells that so many of total are done; total may be 0.
func (l *Line) At(done, total int) {
	now := l.now()
	every := everyFile
	if l.terminal {
		every = everyScreen
	}
	if now.Sub(l.began) < first || !l.told.IsZero() && now.Sub(l.told) < every {
		return
	}
	l.told = now
	left := ""
	if done > 0 && done < total {
		left = ", " + span(now.Sub(l.began)*time.Duration(total-done)/time.Duration(done)) + " left"
	}
	if !l.terminal {
		fmt.Fprintf(l.out, "%s: %d of %d%s\n", l.what, done, total, left)
		return
	}
	full := 0
	if total > 0 {
		full = width * min(done, total) / total // what is counted may grow
	}
	fmt.Fprintf(l.out, "\r\x1b[K%s [%s%s] %d of %d%s", l.what, strings.Repeat("=", full), strings.Repeat(" ", width-full), done, total, left)
}

// Done ends the task, and takes its line off a terminal.
func (l *Line) Done() {
	if l.terminal && !l.told.IsZero() {
		fmt.Fprint(l.out, "\r\x1b[K")
	}
}

func span(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("%d s", int(d.Seconds()+0.5))
	}
	return fmt.Sprintf("%d min", int(d.Minutes()+0.5))
}
