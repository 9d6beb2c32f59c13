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

// An Entry is what a page says of one reason.
type Entry struct{ Name, Means, Do string }

// Reasons returns all of reasons.md, in its order.
func Reasons() []Entry {
	var out []Entry
	for _, section := range strings.Split(reasons, "\n## ")[1:] {
		name, _, _ := strings.Cut(section, "\n")
		e := Entry{Name: name}
		e.Means, e.Do = Reason(name)
		out = append(out, e)
	}
	return out
}

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
