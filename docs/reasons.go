// Package docs holds pages that programs show, too.
package docs

import (
	_ "embed"
	"strings"
)

var (
	//go:embed reasons.md
	reasons string
	//go:embed doctor.md
	findings string
)

// Reason returns what a reason means and what to do, as reasons.md has it, or what
// `sangate doctor` has found, as doctor.md has it; empty for what is neither.
func Reason(name string) (means, do string) {
	for _, page := range []string{reasons, findings} {
		if _, rest, ok := strings.Cut(page, "\n## "+name+"\n"); ok {
			rest, _, _ = strings.Cut(rest, "\n## ")
			rest, _, _ = strings.Cut(rest, "\n# ")
			means, do, _ = strings.Cut(rest, "*What to do:*")
			return strings.TrimSpace(means), strings.TrimSpace(do)
		}
	}
	return "", ""
}
