//go:build unix

package regularfile

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReadRefusesOtherThanRegularFiles checks each kind of file, by its own name and
// through a symbolic link.
//
// Holds: local/special-files-refused
func TestReadRefusesOtherThanRegularFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for file, want := range map[string]string{fifo: "FIFO", socket: "socket", dir: "folder", "/dev/zero": "device"} {
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(file, link); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{file, link} {
			_, err := Read(name, 100)
			if !errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
				t.Errorf("Read(%s) = %v, want ErrNotRegular naming the path and %q", name, err, want)
			}
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := ReadIn(root, "fifo", 100); !errors.Is(err, ErrNotRegular) {
		t.Errorf("ReadIn(fifo) = %v, want ErrNotRegular", err)
	}
}

// TestSwappedForFIFO checks that a FIFO which replaces the file between the check and
// the open neither blocks nor is read.
func TestSwappedForFIFO(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	swap := func(name string) (fs.FileInfo, error) {
		info, err := os.Stat(name)
		return info, errors.Join(err, os.Remove(name), syscall.Mkfifo(name, 0o600))
	}
	if _, err := open(file, 100, swap, os.OpenFile); !errors.Is(err, ErrNotRegular) {
		t.Errorf("open = %v, want ErrNotRegular", err)
	}
}

func TestReadBoundsSize(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := Read(file, 5); err != nil || string(data) != "12345" {
		t.Errorf("Read of 5 bytes, limit 5: %q, %v", data, err)
	}
	if _, err := Read(file, 4); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Read of 5 bytes, limit 4: %v, want ErrTooLarge", err)
	}
	if _, err := Read("/proc/self/status", 10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Read of a file that reports size 0: %v, want ErrTooLarge", err)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none"), 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of a missing file: %v, want fs.ErrNotExist", err)
	}
}
