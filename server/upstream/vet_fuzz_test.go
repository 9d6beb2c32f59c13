package upstream

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/tool"
)

// FuzzVet checks what becomes of an upstream's list of tools: those that are passed on
// have valid names that are different and schemas that compile, everything else is
// named among those left out, and nothing panics.
//
// Holds: upstream/hostile-offer
func FuzzVet(f *testing.F) {
	for _, s := range []string{
		`[{"name":"a","description":"d","inputSchema":{"type":"object"}},{"name":"a","inputSchema":{"type":"object"}}]`,
		`[{"name":"a","inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"bad header\n"}}}}]`,
		`[{"name":"../x","inputSchema":{"type":"object"}},{"name":"","inputSchema":null},{"name":"b","inputSchema":{"type":"string"}},1,null,[]]`,
		`[{"name":"c","inputSchema":{"type":"object","maxProperties":1e999999}},{"name":"d","inputSchema":{"type":"object","$ref":"#"}}]`,
		`[{"name":"e","inputSchema":{"type":"object"},"outputSchema":[]},{"name":"f","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":"yes"}}]`,
		`[{"Name":"g","NAME":"h","inputSchema":{"type":"object"}},{"name":"\u001b[2J","title":"\n","inputSchema":{"type":"object"}}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var list []json.RawMessage
		if len(data) > 64<<10 || json.Unmarshal(data, &list) != nil {
			return
		}
		var text strings.Builder
		s := New(&config.MCPServer{Name: "u", Prefix: "u_"}, Options{Logger: slog.New(slog.NewTextHandler(&text, nil))})
		out := s.vet(t.Context(), &listing{tools: list}, "acme")
		if len(out.Tools) > len(list) {
			t.Fatalf("%d tools of %d entries", len(out.Tools), len(list))
		}
		names := make(map[string]bool)
		for _, made := range out.Tools {
			if !tool.ValidName.MatchString(made.Name) || !strings.HasPrefix(made.Name, "u_") || names[made.Name] || made.Owner != "acme" || made.Upstream != "u" {
				t.Errorf("tool %q of %q and %q, known: %v", made.Name, made.Owner, made.Upstream, names[made.Name])
			}
			names[made.Name] = true
			if err := (&tool.Tool{Name: made.Name, InputSchema: made.InputSchema, OutputSchema: made.OutputSchema, Handler: made.Handler}).Compile(); err != nil {
				t.Errorf("passed on: %v", err)
			}
		}
		if _, err := tool.NewCatalog(out.Tools); err != nil {
			t.Errorf("no catalog of what was vetted: %v", err)
		}
		for line := range strings.Lines(text.String()) {
			if len(line) > 8<<10 || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\r\x1b\x00") {
				t.Errorf("a log line of %d bytes: %.200q", len(line), line)
			}
		}
	})
}
