package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sangate/sangate/pki/ownfile"
)

// A stream is standard output.
type stream struct {
	w    io.Writer
	torn bool // the line before has no newline
}

func (s *stream) write(line []byte) (aside, err error) {
	if !s.torn {
		line = line[1:]
	}
	n, err := s.w.Write(line)
	if n > 0 {
		s.torn = line[n-1] != '\n'
	}
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	return nil, err
}

func (s *stream) reopen() error { return nil }
func (s *stream) close() error  { return nil }

// A file is appended to, and found by its name at every write: that costs one
// lstat, and means that no record goes into a file that is gone, and that the
// size is right where other processes append, too.
type file struct {
	path    string
	max     int64
	backups int
	now     func() time.Time

	open    *os.File    // nil after an error, until the next write
	info    fs.FileInfo // of open
	end     int64       // of the last line written here; -1: none yet
	retryAt time.Time   // no rotation before, after one that went wrong
}

func (f *file) write(line []byte) (aside, err error) {
	size, misplaced := f.look()
	if f.open == nil {
		return nil, misplaced
	}
	if misplaced == nil && f.full(size, len(line)) {
		aside = f.rotate()
		size = f.size()
	}
	if !f.torn(size) {
		line = line[1:]
	}
	if _, err := f.open.Write(line); err != nil {
		f.drop()
		return aside, err
	}
	f.end = size + int64(len(line))
	return aside, misplaced
}

// look returns the size of the file of that name. Where it is another than the
// open one, that is opened; where that cannot be, the open one stays, and the
// error tells that what is written there is not under the name.
func (f *file) look() (size int64, err error) {
	if f.open != nil {
		if info, err := os.Lstat(f.path); err == nil && os.SameFile(info, f.info) {
			return info.Size(), nil
		}
	}
	if err := f.reopen(); err != nil {
		if f.open != nil {
			err = fmt.Errorf("%s was moved or removed, and the record is where it went: %w", f.path, err)
		}
		return f.size(), err
	}
	return f.info.Size(), nil
}

// torn reports whether the file ends within a line: that of a full disk, or of
// a process that was killed. It is looked at where something else than the last
// line written here is at the end.
func (f *file) torn(size int64) bool {
	if size == f.end || size == 0 || !f.info.Mode().IsRegular() {
		return false
	}
	var last [1]byte
	_, err := f.open.ReadAt(last[:], size-1)
	return err != nil || last[0] != '\n'
}

func (f *file) size() int64 {
	if f.open == nil {
		return 0
	}
	info, err := f.open.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// reopen takes up the file of that name; on an error what is open stays open.
func (f *file) reopen() error {
	if info, err := os.Lstat(f.path); err == nil {
		if err := vet(f.path, info); err != nil {
			return err // before it is opened, which some devices act on
		}
	}
	dir, err := ownfile.OpenOutput(filepath.Dir(f.path))
	if err != nil {
		return advise(f.path, err)
	}
	defer dir.Close()
	next, err := dir.OpenFile(filepath.Base(f.path), os.O_CREATE|os.O_RDWR|os.O_APPEND|syscall.O_NONBLOCK|ownfile.NoFollow, 0o600)
	if err != nil {
		return advise(f.path, err)
	}
	info, err := next.Stat()
	if err == nil {
		err = errors.Join(vet(f.path, info), vetLinks(f.path, info, dir))
	}
	if err != nil {
		_ = next.Close() // nothing was written
		return err
	}
	f.drop()
	f.open, f.info, f.end = next, info, -1
	return nil
}

// drop closes what is open. What was written is with the kernel.
func (f *file) drop() {
	if f.open != nil {
		_ = f.open.Close()
		f.open = nil
	}
}

func (f *file) close() error {
	if f.open == nil {
		return nil
	}
	var err error
	if f.info.Mode().IsRegular() {
		err = f.open.Sync()
	}
	err = errors.Join(err, f.open.Close())
	f.open = nil
	return err
}

// vetLinks refuses another name of a file that is elsewhere, in a folder where anybody can make one. Elsewhere a second
// name does no harm, and anybody may be able to give it one.
func vetLinks(path string, info fs.FileInfo, dir *os.Root) error {
	if !info.Mode().IsRegular() || !ownfile.HasLinks(info) {
		return nil
	}
	folder, err := dir.Stat(".")
	if err == nil && folder.Mode().Perm()&0o022 != 0 {
		err = fmt.Errorf("%s has a second name by a hard link, in a folder that others can write to: choose another folder", path)
	}
	return err
}

// vet refuses what lines cannot be appended to, or not without waiting for
// somebody else.
func vet(path string, info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return ownfile.CheckPrivate(path, info)
	case mode&fs.ModeCharDevice != 0:
		return nil
	case mode&fs.ModeSymlink != 0:
		return fmt.Errorf(`%s is a link: name the file itself, or "-" for standard output`, path)
	case mode.IsDir():
		return fmt.Errorf("%s is a folder: name a file in it", path)
	}
	return fmt.Errorf(`%s is not a file: name one, or "-" for standard output`, path)
}

// advise says what to do about a file that does not open.
func advise(path string, err error) error {
	folder := filepath.Dir(path)
	if _, gone := os.Stat(folder); errors.Is(gone, fs.ErrNotExist) {
		return fmt.Errorf("folder %s does not exist: make it, writable for this process's user: %w", folder, err)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("let this process's user read and write the file, and write to its folder: %w", err)
	}
	return err
}
