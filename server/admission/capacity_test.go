//go:build unix

package admission

import (
	"syscall"
	"testing"
)

// Whatever the number of files, what is used fits into it and leaves some free; nothing
// is more than was wanted, and nothing is 0.
func TestCapacityFits(t *testing.T) {
	want := Capacity{Silent: 2048, Handshakes: 512, Open: 20_000}
	for _, files := range []int{16, 64, 256, 1024, 4096, 16_384, 20_000, 65_536, 1 << 20} {
		got := want.fit(files)
		free := files - got.Silent - got.Handshakes - got.Open
		if free < min(files/8, 1024) {
			t.Errorf("%d files: %+v leaves %d free", files, got, free)
		}
		if got.Silent > want.Silent || got.Handshakes > want.Handshakes || got.Open > want.Open ||
			got.Silent < 1 || got.Handshakes < 1 || got.Open < 1 {
			t.Errorf("%d files: %+v, wanted %+v", files, got, want)
		}
		if files >= 65_536 && got != want {
			t.Errorf("%d files: %+v, want all of %+v", files, got, want)
		}
	}
	for _, unknown := range []int{0, -1} {
		if got := want.fit(unknown); got != want {
			t.Errorf("%d files: %+v, want all: the limit is not known", unknown, got)
		}
	}
}

// Fit takes the limit of the process that is in force.
//
// Holds: stranger/file-limit
func TestCapacityFitsTheProcess(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	low := before
	low.Cur = 400
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}()
	if got, want := (Capacity{Silent: 2048, Handshakes: 512, Open: 20_000}).Fit(), (Capacity{Silent: 50, Handshakes: 50, Open: 250}); got != want {
		t.Errorf("%+v with 400 files, want %+v", got, want)
	}
}
