package audit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "audit.jsonl")
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(file, link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		opts Options
		want string
	}{
		{Options{}, "no file is named"},
		{Options{File: file, Backups: -1}, "-1 backups cannot be kept"},
		{Options{File: filepath.Join(dir, "none", "audit.jsonl")}, "folder " + dir + "/none does not exist: make it"},
		{Options{File: dir}, "is a folder: name a file in it"},
		{Options{File: link}, "is a link: name the file itself"},
		{Options{File: pipe}, "is not a file: name one"},
		{Options{File: filepath.Join(file, "x")}, "not a directory"},
	} {
		if l, err := Open(tt.opts); err == nil || l != nil || !strings.HasPrefix(err.Error(), "audit: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.opts, err, tt.want)
		}
	}
}

func TestNilDiscards(t *testing.T) {
	var l *Log
	l.Write(record(1))
	if err := errors.Join(l.Reopen(), l.Close()); err != nil {
		t.Error(err)
	}
}

func TestAppends(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	for i := range 3 {
		l, w := open(t, Options{File: file})
		l.Write(record(i))
		if err := errors.Join(l.Close(), l.Close()); err != nil {
			t.Error(err)
		}
		w.none(t)
		l.Write(record(9))
		if len(w.errs) != 1 || !errors.Is(w.errs[0], os.ErrClosed) || l.Reopen() == nil {
			t.Errorf("after Close: %v", w.errs)
		}
	}
	once(t, 3, file)
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// A process that was killed within a line leaves half of it; the next one's
// first record is a line of its own.
func TestHalfLineOfAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(file, []byte(`{"time":"2026-`), 0o600); err != nil {
		t.Fatal(err)
	}
	l, w := open(t, Options{File: file})
	l.Write(record(0))
	other, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := other.WriteString(`{"half`); err != nil {
			t.Fatal(err)
		}
		l.Write(record(2*i + 1))
		l.Write(record(2*i + 2))
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	w.none(t)
	if got, torn, empty := ids(t, file); strings.Join(got, "") != "0123456" || torn != 4 || empty > 0 {
		t.Errorf("%v, %d lines torn, %d empty in %q", got, torn, empty, read(t, file))
	}
}

func TestMovedRemovedReplaced(t *testing.T) {
	for name, reopen := range map[string]bool{"found out": false, "told": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file, moved := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "audit.jsonl.1")
			l, w := open(t, Options{File: file})
			step := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				if !reopen {
					return
				}
				if err := l.Reopen(); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(file); err != nil {
					t.Error(err)
				}
			}
			l.Write(record(0))
			step(os.Rename(file, moved))
			l.Write(record(1))
			once(t, 1, moved)
			step(os.Remove(file))
			l.Write(record(0))
			once(t, 1, file)
			step(os.WriteFile(moved, nil, 0o640))
			step(os.Rename(moved, file))
			l.Write(record(0))
			once(t, 1, file)
			step(os.Truncate(file, 0)) // logrotate's copytruncate
			l.Write(record(0))
			once(t, 1, file)
			w.none(t)
		})
	}
}

// Where there can be no file of that name, records go on into the one that was
// moved, and every one is reported.
func TestMovedAndNotMadeAnew(t *testing.T) {
	dir := t.TempDir()
	file, moved := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "moved")
	l, w := open(t, Options{File: file, MaxSize: 1})
	l.Write(record(0))
	if err := errors.Join(os.Rename(file, moved), os.Mkdir(file, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("reopened: %v", err)
	}
	l.Write(record(1))
	l.Write(record(2))
	once(t, 3, moved)
	if len(w.errs) != 2 || !strings.Contains(w.errs[0].Error(), "was moved or removed") {
		t.Errorf("%v", w.errs)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.errs = nil
	l.Write(record(0))
	once(t, 1, file)
	w.none(t)
}

// shorts takes so many bytes at a write, and then none.
type shorts struct {
	bytes.Buffer
	room int
}

func (s *shorts) Write(p []byte) (int, error) {
	n, _ := s.Buffer.Write(p[:min(s.room, len(p))])
	s.room -= n
	if n < len(p) {
		return n, io.ErrClosedPipe
	}
	return n, nil
}

func TestStdout(t *testing.T) {
	out := &shorts{room: 200}
	l, w := open(t, Options{File: "-", Stdout: out})
	for i := range 10 {
		l.Write(record(i))
	}
	if len(w.errs) == 0 || !errors.Is(w.errs[0], io.ErrClosedPipe) {
		t.Fatalf("%v", w.errs)
	}
	out.room = 1 << 20
	l.Write(record(10))
	l.Write(record(11))
	if err := errors.Join(l.Reopen(), l.Close()); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, torn, empty := ids(t, file); strings.Join(got, " ") != "0 1 10 11" || torn != 1 || empty > 0 {
		t.Errorf("%v, %d torn, %d empty in %q", got, torn, empty, out)
	}
}

// What is missing is told at once, then once a minute with the count since, and
// at the end.
func TestToldOnceAMinute(t *testing.T) {
	out := &shorts{}
	l, w := open(t, Options{File: "-", Stdout: out})
	fail := func(n int, want string) {
		t.Helper()
		for i := range n {
			l.Write(record(i))
		}
		if got := w.logged.String(); strings.Count(got, "\n") != min(1, len(want)) || !strings.Contains(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		w.logged.Reset()
	}
	fail(1, "records=1 ")
	fail(4, "")
	w.pass(tellEvery - 1)
	fail(1, "")
	w.pass(1)
	fail(1, "records=6 ")
	fail(3, "")
	w.pass(tellEvery)
	out.room = 1 << 20
	fail(1, "records=3 ") // told by one that is written
	w.pass(time.Hour)
	fail(1, "")
	out.room = 0
	fail(1, "records=1 ")
	fail(2, "")
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	fail(0, "records=2 ")
	if len(w.errs) != 13 {
		t.Errorf("%d errors", len(w.errs))
	}
}
