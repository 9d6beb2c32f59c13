//go:build unix

package upstream

import (
	"os/exec"
	"syscall"
)

// ownGroup has the command, and what it starts, be one group.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
