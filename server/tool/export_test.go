package tool

// OwnersForTest returns the upstreams of the resource, template and prompt of a name,
// or "nobody".
func (c *Catalog) OwnersForTest(name string) []string {
	out := []string{"nobody", "nobody", "nobody"}
	for _, r := range c.resources {
		switch r.URI {
		case "r:" + name:
			out[0] = r.Upstream
		case "t:" + name:
			out[1] = r.Upstream
		}
	}
	for _, p := range c.prompts {
		if p.Name == name {
			out[2] = p.Upstream
		}
	}
	return out
}
