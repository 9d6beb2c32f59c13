//go:build unix

package admission

import "syscall"

// openFiles returns how many files the process may have open; 0: not known. Go
// raises the soft limit to the hard one at start.
func openFiles() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil || l.Cur > 1<<30 {
		return 0
	}
	return int(l.Cur)
}
