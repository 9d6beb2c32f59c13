// Package ownfile refuses files and folders that another user of the machine owns or can change.
package ownfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckDir returns an error if somebody but this user and root can change what is in dir: if dir or one of its parents
// belongs to another user, or is writable for others (a sticky parent such as /tmp excepted). What is missing is checked
// from its first existing parent up.
func CheckDir(dir string) error { return checkDir(dir, false) }

// CheckState is like [CheckDir] for a folder that may be on a volume of a container. Where only root can mount, the mode of
// a mount point is chosen by the operator for this process: it may be writable for a group of this process, as volumes
// with an fsGroup are, and, as a parent, for everybody, as an emptyDir of Kubernetes is.
func CheckState(dir string) error { return checkDir(dir, true) }

func checkDir(dir string, volumes bool) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	// Each link on the way has to be ours, and so has what it leads to.
	for at := abs; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if err := owned(at, info); err != nil {
				return err
			}
			target, err := filepath.EvalSymlinks(at)
			if err != nil {
				return err
			}
			if err := checkDir(target, volumes); err != nil {
				return err
			}
		} else if err == nil {
			err := checkOne(at, info, at == abs)
			if err != nil && !(volumes && isVolume(at, info, at == abs)) {
				return err
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

func isVolume(at string, info fs.FileInfo, last bool) bool {
	return info.IsDir() && owned(at, info) == nil && isMount(at, info) && (ofOurGroup(info) && !anyoneWrites(info) || !last)
}

func checkOne(at string, info fs.FileInfo, last bool) error {
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder: move it out of the way", at)
	}
	if err := owned(at, info); err != nil {
		return err
	}
	if shared(info) && (last || info.Mode()&fs.ModeSticky == 0) {
		return fmt.Errorf("%s is writable for other users (mode %04o): choose another folder, or run chmod go-w on it", at, info.Mode().Perm())
	}
	return nil
}

// MakeState makes the folder where it is missing, of mode 0700, and returns the error of [CheckState].
func MakeState(dir string) error {
	if err := CheckState(dir); err != nil { // before anything is made in a folder of somebody else
		return advise(dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return advise(dir, CheckState(dir))
}

// advise tells what helps where the mode of the folder cannot be changed.
func advise(dir string, err error) error {
	if info, statErr := os.Stat(dir); err == nil || statErr != nil || !isMount(dir, info) {
		return err
	}
	return fmt.Errorf("%w; on a volume of a container name a folder in it, such as %s, which is made with mode 0700",
		err, filepath.Join(dir, "state"))
}

// OpenOutput opens the folder that files of this user are written to. Names are then looked up in the folder that was
// checked, whatever takes its place. It is an error if the folder belongs to another user or if everybody can replace
// files in it: if it is writable for all, not sticky, and no volume.
func OpenOutput(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err == nil {
		err = owned(dir, info)
	}
	if err == nil && anyoneWrites(info) && info.Mode()&fs.ModeSticky == 0 && !isMount(dir, info) {
		err = fmt.Errorf("%s is writable for all users (mode %04o): choose another folder, or run chmod o-w on it", dir, info.Mode().Perm())
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// CheckPrivate returns an error if a file, by the info of the file itself and not of a link to it, belongs to another user
// or others can write to it.
func CheckPrivate(name string, info fs.FileInfo) error {
	if err := owned(name, info); err != nil {
		return err
	}
	if shared(info) {
		return fmt.Errorf("%s is writable for other users (mode %04o): run chmod go-w on it", name, info.Mode().Perm())
	}
	return nil
}

// CheckFile returns an error unless info, of [os.Lstat], is of a regular file of this user.
func CheckFile(name string, info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link, which is not followed: replace it with the file", name)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file: move it out of the way", name)
	}
	return owned(name, info)
}

// CheckNamed is [CheckFile] for the file of that name.
func CheckNamed(name string) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if err := CheckFile(name, info); err != nil {
		return err
	}
	return CheckPrivate(name, info)
}

// CheckTree returns an error for the first file or folder below dir that [CheckDir] or [CheckFile] would refuse or that
// others can write to.
func CheckTree(dir string) error {
	return filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(name)
		switch {
		case err != nil:
			return err
		case info.IsDir():
			return checkOne(name, info, true)
		case shared(info) && info.Mode().IsRegular():
			return fmt.Errorf("%s is writable for other users (mode %04o): choose another folder, or run chmod go-w on it", name, info.Mode().Perm())
		}
		return CheckFile(name, info)
	})
}
