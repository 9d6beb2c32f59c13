package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/sangate/sangate/server/steps"
)

// A palette is what marks good and bad; empty where there is no terminal.
type palette struct{ good, bad, dim, off string }

// colours are used on a terminal, unless NO_COLOR says not to.
func colours(w io.Writer) palette {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return palette{}
	}
	return palette{good: "\x1b[32m", bad: "\x1b[1;31m", dim: "\x1b[2m", off: "\x1b[0m"}
}

// printSteps prints a table of steps, each line in the colour of its outcome.
func printSteps(out io.Writer, list []steps.Step, p palette) error {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	var outcomes []string // of each line
	for _, s := range list {
		for i, detail := range append(s.Detail, "")[:max(len(s.Detail), 1)] {
			name, outcome := s.Name, s.Outcome
			if i > 0 {
				name, outcome = "", ""
			}
			outcomes = append(outcomes, s.Outcome)
			fmt.Fprintf(w, "%s\t%s\t%s\n", name, outcome, visible(detail))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	marks := map[string]string{steps.OK: p.good, steps.Wrong: p.bad, steps.Refused: p.bad, steps.NotReached: p.dim}
	i := 0
	for line := range strings.Lines(table.String()) {
		line = strings.TrimRight(line, " \n")
		if mark := marks[outcomes[i]]; mark != "" {
			line = mark + line + p.off
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
		i++
	}
	return nil
}

// visible keeps what a certificate or token says on its line.
func visible(s string) string {
	quoted := fmt.Sprintf("%q", s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// paragraphs are what a page says, without what is empty.
func paragraphs(means, likely, do string) string {
	out := means
	if likely != "" {
		out += "\nLikely: " + likely
	}
	return strings.TrimSpace(out + "\n" + do)
}
