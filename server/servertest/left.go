package servertest

import (
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"
)

var lastGate atomic.Int64

// watch has all goroutines that this one starts until it calls began, and those that they
// start, carry the name of one gate. left waits until they have ended, no longer than
// limit, and returns the stacks of those that have not. Other tests may run beside it.
func watch() (left func(limit time.Duration) string, began func()) {
	name := fmt.Sprint("gate ", lastGate.Add(1))
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("servertest", name)))
	began = func() { pprof.SetGoroutineLabels(context.Background()) }
	return func(limit time.Duration) string {
		var stacks string
		pause := time.Millisecond
		for end := time.Now().Add(limit); ; pause = min(2*pause, 50*time.Millisecond) {
			if stacks = labelled(name); stacks == "" || time.Now().After(end) {
				return stacks
			}
			time.Sleep(pause)
		}
	}, began
}

// labelled returns the stacks of the goroutines that carry a name.
func labelled(name string) string {
	var all, of strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		return err.Error()
	}
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, fmt.Sprintf("%q", name)) {
			of.WriteString(stack + "\n\n")
		}
	}
	return of.String()
}
