// Package docs holds pages that programs show, too.
package docs

import (
	_ "embed"
	"strings"
	"sync"
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

// Reasons returns all of reasons.md, in its order. Not to be changed.
func Reasons() []Entry { return pages().reasons }

// Reason returns what reasons.md has of a reason, or doctor.md of what `sangate
// doctor` finds.
func Reason(name string) (e Entry, ok bool) {
	e, ok = pages().byName[name]
	return e, ok
}

type sections struct {
	reasons []Entry
	byName  map[string]Entry
}

var pages = sync.OnceValue(func() sections {
	out := sections{reasons: entries(reasons), byName: make(map[string]Entry)}
	for _, e := range append(entries(findings), out.reasons...) { // the later stands
		out.byName[e.Name] = e
	}
	return out
})

// entries takes a page apart by its headings.
func entries(page string) (out []Entry) {
	for _, section := range strings.Split(page, "\n## ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		text, _, _ = strings.Cut(text, "\n# ")
		out = append(out, read(name, text))
	}
	return out
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
