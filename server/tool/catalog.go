package tool

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/tenant"
)

// A Catalog is an immutable set of tools, with the views of it made so far.
type Catalog struct {
	tools  []*Tool // by name
	byName map[string]*Tool
	views  sync.Map // *tenant.Tenant → *View
}

// NewCatalog makes a catalog; two tools of one name are an error.
func NewCatalog(tools []*Tool) (*Catalog, error) {
	c := &Catalog{tools: slices.Clone(tools), byName: make(map[string]*Tool, len(tools))}
	slices.SortFunc(c.tools, func(a, b *Tool) int { return cmp.Compare(a.Name, b.Name) })
	for _, t := range c.tools {
		if c.byName[t.Name] != nil {
			return nil, fmt.Errorf("two tools are called %s", t.Name)
		}
		c.byName[t.Name] = t
	}
	return c, nil
}

// Renew returns a catalog of the same tools without views, for a new set of
// tenants.
func (c *Catalog) Renew() *Catalog { return &Catalog{tools: c.tools, byName: c.byName} }

// With returns a catalog that has one more.
func (c *Catalog) With(t *Tool) (*Catalog, error) { return NewCatalog(append(slices.Clip(c.tools), t)) }

// Tools returns all tools by name. Not to be changed.
func (c *Catalog) Tools() []*Tool { return c.tools }

// Lookup returns the tool of that name, whoever may call it, or nil.
func (c *Catalog) Lookup(name string) *Tool { return c.byName[name] }

// A View is what one tenant may see and call. The views of one catalog are made
// once for each entry of the tenant table.
type View struct {
	Tools  []*Tool // by name
	byName map[string]*Tool
	list   []byte
}

// View returns the tenant's view.
func (c *Catalog) View(t *tenant.Tenant) *View {
	if v, ok := c.views.Load(t); ok {
		return v.(*View)
	}
	v := &View{byName: make(map[string]*Tool)}
	for _, tool := range c.tools {
		if t.Allows(tool.Name, tool.Builtin) {
			v.Tools = append(v.Tools, tool)
			v.byName[tool.Name] = tool
		}
	}
	v.list = encodeList(v.Tools)
	actual, _ := c.views.LoadOrStore(t, v)
	return actual.(*View)
}

// Lookup returns the tool of that name, or nil where the tenant has none such.
func (v *View) Lookup(name string) *Tool { return v.byName[name] }

// JSON returns the list as the Octopus dialect has it: a JSON array of {name,
// description, inputSchema, outputSchema?}. Not to be changed.
func (v *View) JSON() []byte { return v.list }

func encodeList(tools []*Tool) []byte {
	type entry struct {
		Name         string         `json:"name"`
		Description  string         `json:"description"`
		InputSchema  jsontext.Value `json:"inputSchema"`
		OutputSchema jsontext.Value `json:"outputSchema,omitempty"`
	}
	list := make([]entry, 0, len(tools))
	for _, t := range tools {
		list = append(list, entry{t.Name, t.Description, jsontext.Value(t.InputSchema), jsontext.Value(t.OutputSchema)})
	}
	out, err := jsonv2.Marshal(list)
	if err != nil {
		panic(err) // the schemas were parsed when the tools were compiled
	}
	return out
}
