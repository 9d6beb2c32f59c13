//go:build unix

package ownfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

func owned(name string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user (uid %d): choose another place, or change its owner", name, st.Uid)
	}
	return nil
}

// shared reports whether others can write. A group of the user's own number is the private group that many systems give
// each user, with a umask of 002.
func shared(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if uid := os.Geteuid(); ok && uid != 0 && int(st.Gid) == uid && os.Getegid() == uid {
		return info.Mode().Perm()&0o002 != 0
	}
	return info.Mode().Perm()&0o022 != 0
}

// NoFollow is the flag with which opening a symbolic link is an error.
const NoFollow = syscall.O_NOFOLLOW

func anyoneWrites(info fs.FileInfo) bool { return info.Mode().Perm()&0o002 != 0 }

// isMount reports whether a file system is mounted at the folder, which only root can do.
func isMount(at string, info fs.FileInfo) bool {
	parent, err := os.Lstat(filepath.Dir(at))
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	up, okUp := parent.Sys().(*syscall.Stat_t)
	return ok && okUp && st.Dev != up.Dev
}

// ofOurGroup reports whether this process is in the group of the file.
func ofOurGroup(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	groups, err := os.Getgroups()
	return ok && (int(st.Gid) == os.Getegid() || err == nil && slices.Contains(groups, int(st.Gid)))
}

// HasLinks reports whether the file has a second name.
func HasLinks(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}
