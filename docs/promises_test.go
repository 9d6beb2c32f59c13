package docs_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sangate/sangate/docs"
)

var update = flag.Bool("update", false, "write the table of security.md")

// TestSecurityPage compares the table of security.md with the promises and the tests that hold them.
func TestSecurityPage(t *testing.T) {
	held := make(map[string][]string)
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || fn.Doc == nil {
				continue
			}
			for line := range strings.Lines(fn.Doc.Text()) {
				if id, ok := strings.CutPrefix(strings.TrimSpace(line), "Holds: "); ok {
					dir, _ := filepath.Rel("..", filepath.Dir(name))
					held[id] = append(held[id], fmt.Sprintf("`%s` %s", filepath.ToSlash(dir), fn.Name.Name))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, tests := range held {
		if docs.Promises[id] == "" {
			t.Errorf("%v hold %q, which is not in docs.Promises", tests, id)
		}
	}
	var table strings.Builder
	table.WriteString("| attacker | promise | tests |\n|---|---|---|\n")
	for _, id := range slices.Sorted(maps.Keys(docs.Promises)) {
		if len(held[id]) == 0 {
			t.Errorf("no test holds %q", id)
		}
		attacker, _, _ := strings.Cut(id, "/")
		slices.Sort(held[id])
		fmt.Fprintf(&table, "| %s | %s | %s |\n", attacker, docs.Promises[id], strings.Join(held[id], ", "))
	}
	page, err := os.ReadFile("security.md")
	if err != nil {
		t.Fatal(err)
	}
	const mark = "\n## Promises and tests\n\n"
	head, got, ok := strings.Cut(string(page), mark)
	if !ok {
		t.Fatalf("security.md has no heading %q", strings.TrimSpace(mark))
	}
	if got == table.String() {
		return
	}
	if !*update {
		t.Fatal("the table of security.md is not that of the tests: go test ./docs -run TestSecurityPage -update")
	}
	if err := os.WriteFile("security.md", []byte(head+mark+table.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
