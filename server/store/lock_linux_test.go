package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Closing any descriptor of a file gives up all locks this process has on it
// (POSIX). So a second Open must not touch the file beside SQLite: another
// process would take itself for the only one and remove the log we write to.
func TestSecondOpenKeepsTheLocks(t *testing.T) {
	if _, err := os.Stat("/proc/locks"); err != nil {
		t.Skip("locks can be seen on Linux only")
	}
	dir := t.TempDir()
	add(t, open(t, dir), "acme")
	before := locks(t, filepath.Join(dir, "sangate.db"))
	if before == 0 {
		t.Fatal("no lock on an open database: this test looks in the wrong place")
	}
	add(t, open(t, dir), "acme")
	if after := locks(t, filepath.Join(dir, "sangate.db")); after < before {
		t.Errorf("%d locks, %d before the second Open", after, before)
	}
}

// locks counts this process's on a file.
func locks(t *testing.T, file string) (n int) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, fmt.Sprintf(" %d ", os.Getpid())) && strings.Contains(line, fmt.Sprintf(":%d ", info.Sys().(*syscall.Stat_t).Ino)) {
			n++
		}
	}
	return n
}
