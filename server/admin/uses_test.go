package admin_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sangate/sangate/server/admin"
)

// An upstream that renames its tools, resources and prompts for ever adds a bounded
// number of series; those that are there go on counting.
//
// Holds: upstream/metric-names
func TestNamesAreBounded(t *testing.T) {
	m := admin.NewMetrics("", "")
	use := func(i int) {
		name := fmt.Sprintf("name-%d", i)
		m.ToolCall("hostile", name, "acme", "ok", time.Millisecond, "")
		m.Used("hostile", "prompt_get", name, "acme", "ok", time.Millisecond, "")
	}
	series := func() map[string]float64 {
		families, err := m.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]float64)
		for _, f := range families {
			if !slices.Contains([]string{"sangate_tool_calls_total", "sangate_mcp_uses_total"}, f.GetName()) {
				continue
			}
			for _, s := range f.Metric {
				for _, l := range s.Label {
					if l.GetName() == "tool" || l.GetName() == "name" {
						out[f.GetName()+" "+l.GetValue()] += s.GetCounter().GetValue()
					}
				}
			}
		}
		return out
	}
	for i := range 2500 {
		use(i)
	}
	before := series()
	for i := range 5000 {
		use(i)
	}
	after := series()
	if len(after) != len(before) || len(after) != 2*2002 {
		t.Errorf("%d names after 5,000, %d before, want %d", len(after), len(before), 2*2002)
	}
	for _, metric := range []string{"sangate_tool_calls_total", "sangate_mcp_uses_total"} {
		if other, first := after[metric+" _other"], after[metric+" name-7"]; other != 500+3000 || first != 2 {
			t.Errorf("%s: %v others and %v of the seventh, want 3500 and 2", metric, other, first)
		}
	}
	m.ToolCall("honest", "pay", "acme", "ok", time.Millisecond, "")
	m.Used("honest", "prompt_get", "pay", "acme", "ok", time.Millisecond, "")
	for i := range 10 * 2500 {
		upstream, name := fmt.Sprint("u", i%10), fmt.Sprintf("%d-%d", i%10, i)
		m.ToolCall(upstream, name, "acme", "ok", time.Millisecond, "")
		m.Used(upstream, "prompt_get", name, "acme", "ok", time.Millisecond, "")
	}
	all := series()
	for _, metric := range []string{"sangate_tool_calls_total", "sangate_mcp_uses_total"} {
		if all[metric+" pay"] != 1 {
			t.Errorf("%s: another upstream's new name has no series of its own", metric)
		}
	}
	if len(all) > 2*10_002 {
		t.Errorf("%d names of 12 upstreams, want at most %d", len(all), 2*10_002)
	}
}
