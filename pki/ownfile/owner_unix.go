//go:build unix

package ownfile

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

func owned(name string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user (uid %d): choose another place, or change its owner", name, st.Uid)
	}
	return nil
}

func shared(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }
