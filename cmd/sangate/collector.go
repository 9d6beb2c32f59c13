package main

import (
	"os"
	"runtime"
)

// ballastSize is what the collector takes the heap to be larger by, in bytes.
const ballastSize = 48 << 20

// ballast has the garbage collector wait for tens of megabytes of garbage where
// the heap itself is a few: a gate's heap is small, and half of its time would go
// into looking through it. The memory is never touched, so it takes up none. It
// returns what lets go of it. Where GOGC or GOMEMLIMIT say how the collector is to
// work, there is none.
func ballast() (release func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	weight := make([]byte, ballastSize)
	return func() { runtime.KeepAlive(weight) }
}
