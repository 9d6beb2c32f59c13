package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Eight writers, hundreds of rotations within one instant, and a file that is
// moved away and reopened under them: every record is there once.
func TestRotationLosesNothing(t *testing.T) {
	const writers, each = 8, 500
	dir := t.TempDir()
	file := filepath.Join(dir, "audit.jsonl")
	l, w := open(t, Options{File: file, MaxSize: 1000, Backups: writers * each})
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			for i := range each {
				l.Write(record(n*each + i))
				if i%100 == 50 {
					if err := l.Reopen(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 20 {
			err := os.Rename(file, filepath.Join(dir, fmt.Sprintf("audit.%d.jsonl", i)))
			if err != nil && !errors.Is(err, os.ErrNotExist) { // just being rotated
				t.Error(err)
			}
		}
	})
	wg.Wait()
	w.none(t)
	files := all(t, file)
	if empty := once(t, writers*each, files...); empty > 0 {
		t.Errorf("%d empty lines", empty)
	}
	if len(files) < 100 {
		t.Errorf("only %d files", len(files))
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || info.Size() > 1000 || info.Mode() != 0o600 {
			t.Errorf("%s: %d bytes, mode %v, %v", f, info.Size(), info.Mode(), err)
		}
	}
}

// Rotated files sort by name, and only what is surely one of them is deleted.
func TestNamesAndWhatIsKept(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "audit.jsonl")
	spared := []string{
		"audit-20200101T000000.000000000Z.jsonl.gz", "audit-20200101T000000Z.jsonl", "audit-20200101T000000,000000000Z.jsonl",
		"audit-x-20200101T000000.000000000Z.jsonl", "audit-20201301T000000.000000000Z.jsonl", "audit-20200101T000000.000000000Z",
		"xaudit-20200101T000000.000000000Z.jsonl", "audit-.jsonl", "other.jsonl",
	}
	for _, name := range append(spared, "audit-20200101T000000.000000000Z.jsonl", "audit-20200101T000000.000000001Z.jsonl") {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	spared = append(spared, "audit-19990101T000000.000000000Z.jsonl", "audit-19990101T000000.000000001Z.jsonl", "audit.jsonl")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "audit-19990101T000000.000000000Z.jsonl"), 0o700),
		os.Symlink("other.jsonl", filepath.Join(dir, "audit-19990101T000000.000000001Z.jsonl"))); err != nil {
		t.Fatal(err)
	}
	l, w := open(t, Options{File: file, MaxSize: 1, Backups: 3})
	for i := range 3 {
		l.Write(record(i))
		w.pass(time.Second)
	}
	w.pass(-24 * time.Hour) // a clock turned back: still the newest
	for i := range 2 {
		l.Write(record(3 + i))
	}
	w.none(t)
	kept := []string{"audit-20261123T080514.123456789Z.jsonl", "audit-20261123T080514.123456790Z.jsonl", "audit-20261123T080514.123456791Z.jsonl"}
	var files []string
	for i, name := range kept {
		files = append(files, filepath.Join(dir, name))
		kept[i] = name
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want := append(slices.Clone(kept), spared...)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("there are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got, _, _ := ids(t, append(files, file)...); strings.Join(got, "") != "1234" {
		t.Errorf("kept %v", got)
	}
}

// Where the file cannot be moved aside it grows on, which is told once a minute.
func TestNotRotated(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "audit.jsonl")
	l, w := open(t, Options{File: file, MaxSize: 1})
	inTheWay := filepath.Join(dir, "audit-20261123T080512.123456789Z.jsonl")
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		l.Write(record(i))
	}
	once(t, 5, file)
	w.none(t)
	if got := w.logged.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "is there already: move it away") {
		t.Errorf("told %q", got)
	}
	w.pass(rotateAgain)
	l.Write(record(0))
	once(t, 1, file)
}

// A file that is moved away just before it would be is not there to be moved.
func TestMovedWhileRotated(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "audit.jsonl")
	l, w := open(t, Options{File: name})
	if err := os.Rename(name, filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := l.out.(*file).rotate(); err != nil {
		t.Error(err)
	}
	l.Write(record(0))
	w.none(t)
	once(t, 1, name)
}

func TestNeverRotated(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	l, w := open(t, Options{File: file, MaxSize: -1})
	for i := range 100 {
		l.Write(record(i))
	}
	w.none(t)
	once(t, 100, all(t, file)...)
	if n := len(all(t, file)); n != 1 {
		t.Errorf("%d files", n)
	}
}

func BenchmarkWrite(b *testing.B) {
	l, err := Open(Options{File: filepath.Join(b.TempDir(), "audit.jsonl")})
	if err != nil {
		b.Fatal(err)
	}
	r := &Record{Kind: Refused, RequestID: "01JDQ4", Tenant: "acme", Identity: "spiffe://example.org/tenant/acme/bot", Serial: "0a0b0c",
		Stage: "bearer", Reason: "token_expired", Method: "POST", Path: "/tool/{name}/call", Remote: "127.0.0.1:5000", Duration: 12345}
	b.ReportAllocs()
	for b.Loop() {
		l.Write(r)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
