// Package docs holds pages that programs show, too.
package docs

import (
	_ "embed"
	"strings"
)

//go:embed reasons.md
var reasons string

// Reason returns what a reason means and what to do, as reasons.md has it; empty
// for what is no reason.
func Reason(name string) (means, do string) {
	_, rest, ok := strings.Cut(reasons, "\n## "+name+"\n")
	if !ok {
		return "", ""
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	rest, _, _ = strings.Cut(rest, "\n# ")
	means, do, _ = strings.Cut(rest, "*What to do:*")
	return strings.TrimSpace(means), strings.TrimSpace(do)
}
