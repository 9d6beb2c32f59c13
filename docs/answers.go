package docs

import (
	_ "embed"
	"strings"
	"sync"
)

//go:embed clients.md
var clients string

// Answers returns what clients.md has of each code that an error answer has, in its
// order: what it means, the status that the client sees, and what to do.
func Answers() []Entry { return answers() }

// Answer returns that of one code; the zero value where there is none.
func Answer(code string) Entry {
	for _, e := range answers() {
		if e.Name == code {
			return e
		}
	}
	return Entry{}
}

var answers = sync.OnceValue(func() (out []Entry) {
	_, table, _ := strings.Cut(clients, "\n## When it says no\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) == 4 && strings.HasPrefix(cells[1], "`") && cells[0] != "status" {
			out = append(out, Entry{Name: strings.Trim(cells[1], "`"), Client: cells[0], Means: cells[2], Do: cells[3]})
		}
	}
	return out
})
