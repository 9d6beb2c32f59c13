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
func CheckDir(dir string) error {
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
			if err := CheckDir(target); err != nil {
				return err
			}
		} else if err == nil {
			if err := checkOne(at, info, at == abs); err != nil {
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
