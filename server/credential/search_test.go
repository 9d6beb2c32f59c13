package credential_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/credential"
)

// TestScrubberManySecrets checks that a text of nothing but secrets takes time in
// proportion to its length: at twice the length in four times the time, this test would
// not end.
//
// Holds: upstream/secret-repeated-often
func TestScrubberManySecrets(t *testing.T) {
	const secret, n = "hunter22", 300_000
	s := credential.NewScrubber(secret, "another <secret>", "a third")
	text := bytes.Repeat([]byte(secret+","), n)
	want := bytes.Repeat([]byte(credential.Redacted+","), n)
	if got := s.Bytes(text); !bytes.Equal(got, want) {
		t.Errorf("Bytes: %d bytes, %.50q…, want %d", len(got), got, len(want))
	}
	if got := s.Cut(text); !bytes.Equal(got, want) {
		t.Errorf("Cut: %d bytes, %.50q…, want %d", len(got), got, len(want))
	}
	got, err := io.ReadAll(s.Reader(io.NopCloser(bytes.NewReader(text))))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Reader: %v, %d bytes, want %d", err, len(got), len(want))
	}
	escaped := []byte(`["` + strings.Repeat(`\u0068unter22,`, n) + `"]`)
	if got := s.JSON(escaped); string(got) != `["`+string(want)+`"]` {
		t.Errorf("JSON: %d bytes, %.50q…, want %d", len(got), got, len(want)+4)
	}
}

// TestScrubberOrder checks which form is replaced where several overlap.
func TestScrubberOrder(t *testing.T) {
	s := credential.NewScrubber("abcdef", "defghi", "abcdefg", "ghijkl")
	const x = credential.Redacted
	for text, want := range map[string]string{
		"abcdefghi":               x + "hi", // the longest at one place
		"abcdeabcdefghijkl":       "abcde" + x + "hijkl",
		"defghijklabcdef":         x + "jkl" + x,
		"abcdefabcdefgdefghi":     x + x + x,
		"ghijkldefghiabcdef-abcd": x + x + x + "-abcd",
	} {
		if got := s.String(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	for cut := range len("ghijkldefghiabcdef-abcd") {
		text := "ghijkldefghiabcdef-abcd"[:cut]
		got, all := string(s.Cut([]byte(text))), s.String(text)
		if !strings.HasPrefix(all, got) || strings.HasSuffix(got, "abcd") {
			t.Errorf("%s became %q at its cut, %q as a whole", fmt.Sprintf("%q", text), got, all)
		}
	}
}
