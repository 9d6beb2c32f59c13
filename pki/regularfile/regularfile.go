// Package regularfile reads whole regular files of bounded size.
//
// Read never blocks on a FIFO and never reads a device, a socket or a folder.
// Symbolic links are followed, because Kubernetes mounts secrets as links.
package regularfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

var (
	// ErrNotRegular reports a FIFO, device, socket or folder.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge reports a file of more bytes than the caller accepts.
	ErrTooLarge = errors.New("file too large")
	// ErrChanged reports a file that was written to while it was read.
	ErrChanged = errors.New("file changed while it was read")
)

// Read returns the content of the regular file at path, at most limit bytes.
// Its errors are of type [*fs.PathError].
func Read(path string, limit int64) ([]byte, error) {
	f, err := open(path, limit, os.Stat, os.OpenFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, limit)
}

// A File is a regular file that is open for reading.
type File struct {
	f     *os.File
	path  string
	info  fs.FileInfo // when it was opened
	left  int64       // bytes until limit
	limit int64
}

// Open opens the regular file at path. Reading more than limit bytes is an error, as in [Read].
func Open(path string, limit int64) (*File, error) {
	f, err := open(path, limit, os.Stat, os.OpenFile)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &File{f: f, path: path, info: info, left: limit, limit: limit}, nil
}

func (f *File) Read(p []byte) (n int, err error) {
	if int64(len(p)) > f.left+1 {
		p = p[:f.left+1]
	}
	n, err = f.f.Read(p)
	if f.left -= int64(n); f.left < 0 {
		f.left = 0
		return 0, tooLarge(f.path, f.limit)
	}
	return n, err
}

// Seek goes back to the start, the only place it can go to.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart {
		return 0, &fs.PathError{Op: "seek", Path: f.path, Err: fs.ErrInvalid}
	}
	f.left = f.limit
	return f.f.Seek(0, io.SeekStart)
}

// Unchanged returns an error if the file was written to since it was opened.
func (f *File) Unchanged() error {
	info, err := f.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != f.info.Size() || !info.ModTime().Equal(f.info.ModTime()) {
		return &fs.PathError{Op: "read", Path: f.path, Err: ErrChanged}
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

// Copy writes the content of the regular file at path, at most limit bytes, to w.
func Copy(w io.Writer, path string, limit int64) (n int64, err error) {
	f, err := open(path, limit, os.Stat, os.OpenFile)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if n, err = io.Copy(w, io.LimitReader(f, limit+1)); err == nil && n > limit {
		err = tooLarge(path, limit)
	}
	return n, err
}

// ReadIn is like [Read] for a name inside root. Links that leave root are refused.
func ReadIn(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := open(name, limit, root.Stat, root.OpenFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, name, limit)
}

// open checks the file before it is opened, because opening some devices has side
// effects, and again afterwards, because it may have been replaced in between.
// O_NONBLOCK keeps the open of a FIFO without a writer from blocking.
func open(path string, limit int64, stat func(string) (fs.FileInfo, error),
	openFile func(string, int, fs.FileMode) (*os.File, error)) (*os.File, error) {
	info, err := stat(path)
	if err != nil {
		return nil, err
	}
	if err := check(path, info, limit); err != nil {
		return nil, err
	}
	f, err := openFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = check(path, info, limit)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

func readAll(f *os.File, path string, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, min(info.Size(), limit)+1)
	for {
		n, err := f.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) > limit:
			return nil, tooLarge(path, limit)
		case err == io.EOF:
			return data, nil
		case err != nil:
			return nil, err
		case len(data) == cap(data):
			data = append(data, 0)[:len(data)]
		}
	}
}

func check(path string, info fs.FileInfo, limit int64) error {
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%s: %w", kind(info.Mode()), ErrNotRegular)}
	}
	if info.Size() > limit {
		return tooLarge(path, limit)
	}
	return nil
}

func tooLarge(path string, limit int64) error {
	return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w: larger than %d bytes", ErrTooLarge, limit)}
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "is a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "is a FIFO"
	case mode&fs.ModeSocket != 0:
		return "is a socket"
	case mode&fs.ModeDevice != 0:
		return "is a device"
	}
	return "is of type " + mode.Type().String()
}
