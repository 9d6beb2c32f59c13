package revocation_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki/revocation"
)

// TestDenylistMemory checks that a list which is refused is not held, and that one which is
// accepted takes little more than its entries.
//
// Holds: operator/denylist-memory
func TestDenylistMemory(t *testing.T) {
	var b strings.Builder
	const n = 500_000
	for i := range n {
		fmt.Fprintf(&b, "sha256:%064x # a comment\n", i)
	}
	allocated := func(text string) (list *revocation.Denylist, bytes uint64, err error) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		list, err = revocation.ParseDenylist(strings.NewReader(text), "f", exactly)
		runtime.ReadMemStats(&after)
		return list, after.TotalAlloc - before.TotalAlloc, err
	}
	if _, got, err := allocated(b.String() + "x\n"); err == nil || got > 1<<20 {
		t.Errorf("a bad list: allocated %d bytes, %v; want an error and at most 1 MiB", got, err)
	}
	list, got, err := allocated(b.String())
	if err != nil || list.Len() != n || got > 30<<20 {
		t.Errorf("a good list: %v, allocated %d bytes; want at most 30 MiB", err, got)
	}
}
