package server_test

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/auth"
)

// docs/reasons.md has a heading for every reason, and none for what is not one.
func TestReasonsPage(t *testing.T) {
	f, err := os.Open("../docs/reasons.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var page []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "## "); ok {
			page = append(page, name)
		}
	}
	var code []string
	for _, r := range pki.HandshakeReasons() {
		code = append(code, string(r))
	}
	for _, r := range auth.Reasons {
		if !slices.Contains(code, string(r)) { // revocation_unknown is in both
			code = append(code, string(r))
		}
	}
	if !slices.Equal(page, code) {
		t.Errorf("the page has\n%v\nthe code has\n%v", page, code)
	}
}
