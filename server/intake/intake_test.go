package intake_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sangate/sangate/server/expr"
	"github.com/sangate/sangate/server/intake"
)

// fill takes holds of a size until one is refused, and returns how many it got.
func fill(b *intake.Budget, tenant, identity string, size int64) (n int) {
	for b.Take(new(intake.Hold), tenant, identity, size) {
		n++
	}
	return n
}

// A tenant leaves half of all to others and an identity half of it to its tenant's others.
//
// Holds: client/request-memory
func TestEveryTenantGetsItsPart(t *testing.T) {
	b := intake.New(1024)
	if got := fill(b, "acme", "a", 1); got != 256 {
		t.Errorf("an identity alone got %d, want a quarter of 1024", got)
	}
	for n := range 50 {
		fill(b, "acme", fmt.Sprint(n), 1)
	}
	if got := b.Held(); got > 512+1 {
		t.Errorf("a tenant alone got %d, want at most half of 1024", got)
	}
	if got := fill(b, "globex", "g", 1); got < 120 {
		t.Errorf("an identity of the next tenant got %d, want a quarter of the 512 that are left", got)
	}
	for n := range 100 {
		if !b.Take(new(intake.Hold), fmt.Sprint("tenant", n), "x", 1) {
			t.Fatalf("tenant %d got nothing", n)
		}
	}
	if got := b.Held(); got > 1024 {
		t.Errorf("%d are held, want at most 1024", got)
	}
}

// A tenant that holds nothing gets in, whatever the size, and once at a time.
func TestOneAtATime(t *testing.T) {
	b := intake.New(100)
	var first, second, other intake.Hold
	if !b.Take(&first, "acme", "a", 500) || b.Take(&second, "acme", "b", 1) || !b.Take(&other, "globex", "g", 300) {
		t.Error("want the first of each tenant only")
	}
	if b.Take(&first, "acme", "a", 10); b.Held() != 310 {
		t.Errorf("%d held after one has got smaller, want 310", b.Held())
	}
	if !b.Take(&first, "acme", "a", 600) {
		t.Error("the only one of its tenant is refused more")
	}
	first.Release()
	first.Release()
	other.Release()
	if b.Held() != 0 {
		t.Errorf("%d held in the end", b.Held())
	}
	b.SetTotal(1000)
	if got := fill(b, "acme", "a", 10); got != 25 {
		t.Errorf("%d with ten times as much, want 25", got)
	}
}

// Whatever the order, nothing is left over.
func TestInterleaved(t *testing.T) {
	b := intake.New(3000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 3000 {
				var h intake.Hold
				tenant, identity := fmt.Sprint(rand.IntN(3)), fmt.Sprint(rand.IntN(3))
				b.Take(&h, tenant, identity, int64(rand.IntN(400)))
				b.Take(&h, tenant, identity, int64(rand.IntN(400)))
				h.Release()
			}
		})
	}
	wg.Wait()
	if got := b.Held(); got != 0 {
		t.Errorf("%d bytes held in the end", got)
	}
	if got := fill(b, "0", "0", 1); got != 750 {
		t.Errorf("%d are free in the end, want 750", got)
	}
}

// What the decoders make of JSON takes no more than its weight.
//
// Holds: client/request-memory
func TestWeightIsEnough(t *testing.T) {
	for _, part := range []string{`{}`, `[]`, `{"":0}`, `{"a":1,"b":2}`, `1`, `1000`, `1e308`, `null`, `""`, `"abcdefgh"`,
		`[1]`, `[[[[]]]]`, `{"a":{"b":{}}}`} {
		t.Run(part, func(t *testing.T) {
			text := []byte("[" + strings.Repeat(part+",", 100_000) + "0]")
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			v, err := expr.Decode(text, nil)
			runtime.GC()
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			took, weight := int64(after.HeapAlloc)-int64(before.HeapAlloc), intake.Weight(text)
			if took > weight {
				t.Errorf("takes %d bytes, weighs %d", took, weight)
			}
			runtime.KeepAlive(v)
		})
	}
	var wide strings.Builder
	for n := range 100_000 {
		fmt.Fprintf(&wide, `"%d":0,`, n)
	}
	if got := intake.Weight([]byte("{" + wide.String() + `"":0}`)); got < 8<<20 {
		t.Errorf("an object of 100,000 members weighs %d", got)
	}
}

// What is in a text is no structure.
func TestWeightOfTexts(t *testing.T) {
	for text, want := range map[string]int64{
		``: 0, `"`: 2, `"{[,:`: 10, `"\"{[\\"`: 16, `"\\",`: 10 + 40, `{}`: 4 + 64, `[1,"a,b"]`: 18 + 64 + 40,
	} {
		if got := intake.Weight([]byte(text)); got != want {
			t.Errorf("%s weighs %d, want %d", text, got, want)
		}
	}
	long := `"` + strings.Repeat(`\"{,[:`, 100_000) + `"`
	if got := intake.Weight([]byte(long)); got != int64(2*len(long)) {
		t.Errorf("a text of %d bytes weighs %d", len(long), got)
	}
}
