package upstream

import (
	"errors"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/config"
)

// TestLongProblemIsCut checks that what quotes an upstream is not told at its length: the
// console shows it.
func TestLongProblemIsCut(t *testing.T) {
	s := &Server{conf: &config.MCPServer{Name: "long"}, lastErr: errors.New(strings.Repeat("a", 60_000))}
	if n := len(s.state().Problem); n == 0 || n > 2*maxProblem {
		t.Errorf("a problem of %d bytes", n)
	}
}
