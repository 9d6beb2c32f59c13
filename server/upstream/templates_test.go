package upstream

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
)

// TestCostlyTemplatesLeftOut checks that templates on which the MCP SDK would panic, or with which each read would take
// long, are left out alone.
//
// Holds: upstream/hostile-offer
func TestCostlyTemplatesLeftOut(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	s := &Server{conf: &config.MCPServer{Name: "u"}, log: log, told: log, scrub: credential.NewScrubber()}
	var list []json.RawMessage
	for i, uri := range []string{
		"{" + strings.Repeat("a,", 1010) + "a}",
		strings.Repeat("{+a}", 300),
		"docs://{a}/{b}",
		"docs://{",
	} {
		list = append(list, json.RawMessage(fmt.Sprintf(`{"name":"t%d","uriTemplate":%q}`, i, uri)))
	}
	for i := range maxVariables {
		list = append(list, json.RawMessage(fmt.Sprintf(`{"name":"m%d","uriTemplate":"m%d:{a}"}`, i, i)))
	}
	out := s.vet(t.Context(), &listing{templates: list}, "")
	if n := len(out.Resources); n != maxVariables-1 || out.Resources[0].URI != "docs://{a}/{b}" {
		t.Errorf("%d templates taken, want one of two variables and %d of one", n, maxVariables-2)
	}
	const want = "variables"
	if len(out.left) != 5 || !strings.Contains(out.left[0].Why, want) || !strings.Contains(out.left[1].Why, want) {
		t.Errorf("left out: %v", out.left)
	}
}
