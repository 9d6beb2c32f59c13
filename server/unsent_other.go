//go:build !linux

package server

import "net"

// boundUnsent does nothing here.
func boundUnsent(net.Conn) {}

// unsentOf returns 0: it is not known. Progress is then seen by whole writes only.
func unsentOf(net.Conn) int { return 0 }
