package server

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelUnsent is how much the system takes of a connection's answers, in bytes, beyond
// what it has sent. Without it a client that reads nothing fills megabytes of the
// system's memory for each connection.
const kernelUnsent = 128 << 10

// boundUnsent bounds what the system holds unsent for a connection. An option of the
// listener would not do: with Multipath TCP, Go's default, connections do not inherit it.
func boundUnsent(c net.Conn) {
	_ = control(c, func(fd int) error { // without it the system's own bounds hold
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, kernelUnsent)
	})
}

// unsentOf returns how many bytes the system holds that the client has not
// acknowledged; 0: not known.
func unsentOf(c net.Conn) (n int) {
	_ = control(c, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		return err
	})
	return n
}

func control(of net.Conn, do func(fd int) error) error {
	sc, ok := of.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var did error
	if err := raw.Control(func(fd uintptr) { did = do(int(fd)) }); err != nil {
		return err
	}
	return did
}
