// Package atomicfile replaces files so that a reader, or a crash at any point,
// finds the old content or the new, whole, and never in a mode wider than the
// one asked for.
//
// Several files that belong together are staged before the first is swapped:
// each lies whole under [Staged] of its name until its turn comes, so what a
// crash between two swaps left behind can be completed from there.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// A File is a name, its new content and its mode.
type File struct {
	Name string
	Data []byte
	Perm fs.FileMode
}

// Staged returns where the new content of name waits for its swap.
func Staged(name string) string { return name + ".new" }

// Write replaces one file.
func Write(name string, data []byte, perm fs.FileMode) error {
	return Replace(File{name, data, perm})
}

// Replace stages all files and then swaps them in, in the order given. The
// content is on disk (fsync) before the first name changes. One writer at a
// time; folders must exist.
func Replace(files ...File) error {
	for i, f := range files {
		if err := stage(f); err != nil {
			unstage(files[:i])
			return err
		}
	}
	var errs []error
	dirs := map[string]bool{}
	for i, f := range files {
		if err := os.Rename(Staged(f.Name), f.Name); err != nil {
			if i == 0 {
				unstage(files) // nothing was swapped, so nothing is to be completed
			}
			return err
		}
		dirs[filepath.Dir(f.Name)] = true
	}
	for dir := range dirs {
		errs = append(errs, syncDir(dir))
	}
	return errors.Join(errs...)
}

// unstage removes what waits for a swap that will not come: a private key must
// not lie about.
func unstage(files []File) {
	for _, f := range files {
		os.Remove(Staged(f.Name))
	}
}

// stage writes f under a name no one knows, so that what lies at Staged is
// whole at all times.
func stage(f File) (err error) {
	dir, base := filepath.Split(f.Name)
	if dir == "" {
		dir = "."
	}
	tmp, err := os.CreateTemp(dir, "."+base+".tmp-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(f.Data)
	if err == nil {
		err = tmp.Chmod(f.Perm)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), Staged(f.Name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return Sync(d)
}

// Sync makes a rename in an open folder last. Some filesystems cannot, which is
// no error.
func Sync(dir *os.File) error {
	if err := dir.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}
