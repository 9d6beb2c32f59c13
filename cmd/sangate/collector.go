package main

import (
	"os"
	"runtime"
)

// ballastSize is what the collector takes the heap to be larger by, in bytes.
const ballastSize = 20 << 20

// ballast has the garbage collector wait for tens of megabytes of garbage where
// the heap itself is a few, as a gate's is: a call then costs a few percent less
// CPU, and its slowest hundredth less time (docs/performance.md). The memory itself is
// never touched, so it takes up none; the garbage does. It returns what lets go
// of it. Where GOGC or GOMEMLIMIT say how the collector is to work, there is none.
func ballast() (release func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	weight := make([]byte, ballastSize)
	return func() { runtime.KeepAlive(weight) }
}
