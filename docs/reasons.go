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

// An Entry is what a page says of one reason. Of a finding of `sangate doctor`
// there is only what it means, what the gate shows and what to do.
type Entry struct {
	Name, Means string
	Client      string // what the client sees
	Gate        string // what metric and log show
	Likely      string // causes
	Do          string
	Alert       string // links into alerts.md
}

// Reasons returns all of reasons.md, in its order.
func Reasons() []Entry {
	var out []Entry
	for _, section := range strings.Split(reasons, "\n## ")[1:] {
		name, _, _ := strings.Cut(section, "\n")
		e, _ := Reason(name)
		out = append(out, e)
	}
	return out
}

// Reason returns what reasons.md has of a reason, or doctor.md of what `sangate
// doctor` finds.
func Reason(name string) (e Entry, ok bool) {
	for _, page := range []string{reasons, findings} {
		if _, text, found := strings.Cut(page, "\n## "+name+"\n"); found {
			text, _, _ = strings.Cut(text, "\n## ")
			text, _, _ = strings.Cut(text, "\n# ")
			return read(name, text), true
		}
	}
	return e, false
}

// read takes a section apart: paragraphs, those after the first with a label.
func read(name, text string) Entry {
	e := Entry{Name: name}
	parts := map[string]*string{"The client sees": &e.Client, "The gate shows": &e.Gate, "Likely": &e.Likely, "What to do": &e.Do, "Alert": &e.Alert}
	for i, paragraph := range strings.Split(text, "\n\n*") {
		label, rest, ok := strings.Cut(paragraph, ":* ")
		if into := parts[label]; i > 0 && ok && into != nil {
			*into = strings.TrimSpace(rest)
		} else if i == 0 {
			e.Means = strings.TrimSpace(paragraph)
		}
	}
	return e
}
