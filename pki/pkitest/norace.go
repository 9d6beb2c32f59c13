//go:build !race

package pkitest

// Race tells that the race detector is on, under which more is allocated than
// in the product: allocation counts are asserted without it.
const Race = false
