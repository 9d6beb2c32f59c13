// Package atomicfile replaces files so that a reader, or a crash at any point,
// finds the old content or the new, whole, and never in a mode wider than the
// one asked for.
//
// Several files that belong together are staged before the first is swapped:
// each lies whole under [Staged] of its name until its turn comes, so what a
// crash between two swaps left behind can be completed from there.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sangate/sangate/pki/ownfile"
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
// time; folders must exist, and must not be such that any user can replace
// files in them ([ownfile.OpenOutput]). A link in place of a file is replaced,
// not followed.
func Replace(files ...File) (err error) {
	dirs := make(map[string]*os.Root)
	defer func() {
		for _, dir := range dirs {
			err = errors.Join(err, dir.Close())
		}
	}()
	for _, f := range files {
		dir := filepath.Dir(f.Name)
		if dirs[dir] != nil {
			continue
		}
		root, err := ownfile.OpenOutput(dir)
		if err != nil {
			return err
		}
		dirs[dir] = root
	}
	return replace(dirs, files)
}

func replace(dirs map[string]*os.Root, files []File) error {
	in := func(f File) (*os.Root, string) { return dirs[filepath.Dir(f.Name)], filepath.Base(f.Name) }
	unstage := func(files []File) { // a private key that waits for no swap must not lie about
		for _, f := range files {
			root, base := in(f)
			_ = root.Remove(Staged(base))
		}
	}
	for i, f := range files {
		root, base := in(f)
		if err := stage(root, base, f); err != nil {
			unstage(files[:i])
			return err
		}
	}
	for i, f := range files {
		root, base := in(f)
		if err := root.Rename(Staged(base), base); err != nil {
			if i == 0 {
				unstage(files) // nothing was swapped, so nothing is to be completed
			}
			return err
		}
	}
	var errs []error
	for _, root := range dirs {
		errs = append(errs, syncDir(root))
	}
	return errors.Join(errs...)
}

// stage writes f under a name no one knows, so that what lies at Staged is
// whole at all times.
func stage(root *os.Root, base string, f File) (err error) {
	name := "." + base + ".tmp-" + rand.Text()
	tmp, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(name)
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
	if err = root.Rename(name, Staged(base)); err != nil {
		return err
	}
	return syncDir(root)
}

func syncDir(root *os.Root) error {
	d, err := root.Open(".")
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
