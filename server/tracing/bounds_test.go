package tracing

import (
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"
)

// A text that is cut is a text still, and does not hold what was cut off.
func TestShort(t *testing.T) {
	for _, long := range []string{strings.Repeat("x", 1<<20), strings.Repeat("€", 1<<20)} {
		got := short(long)
		if len(got) > maxText || len(got) < maxText-utf8.UTFMax || !utf8.ValidString(got) || !strings.HasPrefix(long, got) {
			t.Errorf("cut to %d bytes: %.20q…", len(got), got)
		}
		if unsafe.StringData(got) == unsafe.StringData(long) {
			t.Error("it holds all of the text")
		}
	}
	if text := strings.Repeat("x", maxText); short(text) != text {
		t.Error("a text at the bound is cut")
	}
}
