package schema

import (
	"encoding/json"
	"testing"
)

// Equal numbers have one text, however they are written, and it is short: one of 300
// bytes for each number of an array took 1.4 GB for 32 requests.
//
// Holds: client/number-texts
func TestCanonicalNumbers(t *testing.T) {
	for _, tc := range []struct {
		value float64
		as    []json.Number
	}{
		{0, []json.Number{"0", "-0", "0.00", "0e7"}},
		{100, []json.Number{"100", "1e2", "100.0", "0.1E+3", "1000e-1"}},
		{-1.25, []json.Number{"-1.25", "-125e-2", "-0.0125E2"}},
		{1e300, []json.Number{"1e300", "0.1e301"}},
		{5e-324, []json.Number{"5e-324", "0.5e-323"}},
		{1.7976931348623157e308, []json.Number{"1.7976931348623157e308"}},
	} {
		want := canonical(tc.value)
		if len(want) > 32 {
			t.Errorf("%v: %d bytes", tc.value, len(want))
		}
		for _, n := range tc.as {
			if got := canonical(n); got != want {
				t.Errorf("%s: %q, want %q as of %v", n, got, want, tc.value)
			}
		}
	}
	if canonical(10.0) == canonical(1.0) || canonical(0.1) == canonical(1.0) || canonical(-1.0) == canonical(1.0) {
		t.Error("different numbers have one text")
	}
}
