package servertest

import (
	"strings"
	"testing"
	"time"
)

// What one gate has started is told apart from what another has, and from what runs
// beside both, however deep it was started.
func TestLeftBehind(t *testing.T) {
	release, started := make(chan struct{}), make(chan struct{})
	lasts := func() { started <- struct{}{}; <-release }
	go lasts() // of no gate
	<-started
	first, began := watch()
	go func() { go lasts() }()
	<-started
	began()
	go lasts()
	<-started
	second, began := watch()
	began()
	if stacks := first(0); strings.Count(stacks, "servertest.TestLeftBehind") != 1 {
		t.Errorf("of the first gate: %q, want one goroutine", stacks)
	}
	if stacks := second(time.Minute); stacks != "" {
		t.Errorf("of the second gate: %q, want none", stacks)
	}
	close(release)
	if stacks := first(time.Minute); stacks != "" {
		t.Errorf("after it has ended: %q", stacks)
	}
}
