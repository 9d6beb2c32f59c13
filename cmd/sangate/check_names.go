package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sangate/sangate/server/config"
)

// nameWarnings tells of upstreams and OpenAPI documents that could offer the same
// names, because their prefixes are equal or missing. What is offered is not known
// here.
func nameWarnings(c *config.Config) (out []string) {
	upstreams, by := 0, make(map[string][]string)
	for _, m := range c.MCPServers {
		if m.Enabled {
			by[m.Prefix] = append(by[m.Prefix], "mcpServers "+m.Name)
			upstreams++
		}
	}
	for _, d := range c.Tools.OpenAPI {
		by[d.Prefix] = append(by[d.Prefix], "openapi "+d.Name)
	}
	for _, prefix := range slices.Sorted(maps.Keys(by)) {
		if n := len(by[prefix]); n > 1 && upstreams > 0 {
			out = append(out, fmt.Sprintf("%s have %s: of a name that two offer, the one that came later is left out; set a prefix for each",
				strings.Join(by[prefix], ", "), cmp.Or(prefixed(prefix), "no prefix")))
		}
	}
	return out
}

func prefixed(prefix string) string {
	if prefix == "" {
		return ""
	}
	return "the same prefix " + prefix
}
