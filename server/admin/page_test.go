package admin_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/admin"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// docs/metrics.md has every metric, as the code has it.
func TestMetricsPage(t *testing.T) {
	m := admin.NewMetrics("version", "commit")
	m.Holdings(admin.Holdings{})
	var table strings.Builder
	table.WriteString("| metric | type | labels | what it tells |\n|---|---|---|---|\n")
	for _, d := range m.Definitions() {
		labels := ""
		if len(d.Labels) > 0 {
			labels = "`" + strings.Join(d.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", d.Name, d.Type, labels, d.Help)
	}
	const file, begins, ends = "../../docs/metrics.md", "-update -->\n\n", "\n<!-- end -->"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begins)
	_, after, ok2 := strings.Cut(rest, ends)
	if !ok || !ok2 {
		t.Fatal("the page has no place for the table")
	}
	want := before + begins + table.String() + ends + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(page) != want {
		t.Errorf("%s is not what the code has; run this with -update", file)
	}
}
