package tool

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sangate/sangate/server/tenant"
)

// A Catalog is an immutable set of tools, resources and prompts, with the views of
// it made so far.
type Catalog struct {
	tools     []*Tool // by name
	byName    map[string]*Tool
	resources []*Resource
	vacant    []*Resource          // of sources that were not asked yet
	since     map[*Resource]uint64 // when its source got its URI, see claim; 0: the gate's own
	prompts   []*Prompt
	views     sync.Map // *tenant.Tenant → *View
}

// NewCatalog makes a catalog of tools; two of one name are an error.
func NewCatalog(tools []*Tool) (*Catalog, error) {
	c := &Catalog{byName: make(map[string]*Tool, len(tools))}
	for _, t := range tools {
		if c.byName[t.Name] != nil {
			return nil, fmt.Errorf("two tools are called %s", t.Name)
		}
		c.add(t)
	}
	c.sort()
	return c, nil
}

// A Collision is a name that is given to two: the one that did not have it is left out.
type Collision struct {
	Kind         string // tool, resource, resource template or prompt
	Name         string // URI, of a resource
	Source, With string // With is the source that has it; "": the gate itself
}

// add is for a catalog in the making.
func (c *Catalog) add(t *Tool) {
	c.byName[t.Name] = t
	c.tools = append(c.tools, t)
}

func (c *Catalog) sort() {
	slices.SortFunc(c.tools, func(a, b *Tool) int { return cmp.Compare(a.Name, b.Name) })
}

func kindOf(r *Resource) string {
	if r.Template {
		return kindTemplate
	}
	return kindResource
}

// Tools returns all tools by name. Not to be changed.
func (c *Catalog) Tools() []*Tool { return c.tools }

// Lookup returns the tool of that name, whoever may call it, or nil.
func (c *Catalog) Lookup(name string) *Tool { return c.byName[name] }

// A View is what one tenant may see and call. The views of one catalog are made
// once for each entry of the tenant table.
type View struct {
	Tools     []*Tool // by name
	Resources []*Resource
	Prompts   []*Prompt
	byName    map[string]*Tool
	list      []byte
	vacant    []*Resource          // what others may not be read in the place of
	since     map[*Resource]uint64 // the catalog's
	reading   reading

	mu      sync.Mutex
	without map[string]*View // by what they lack

	making sync.Mutex
	kept   atomic.Pointer[any] // by a dialect
}

// Keep returns what a dialect keeps with the view, which lasts as long. It is made
// the first time, and again the next time if making it panics.
func (v *View) Keep(make func(*View) any) any {
	if kept := v.kept.Load(); kept != nil {
		return *kept
	}
	v.making.Lock()
	defer v.making.Unlock()
	if kept := v.kept.Load(); kept != nil {
		return *kept
	}
	made := make(v)
	v.kept.Store(&made)
	return made
}

// maxWithout bounds how many views of one are kept.
const maxWithout = 100

// Without returns the view with what is named left out of it, or with everything.
// One that lacks nothing is the view itself.
func (v *View) Without(hidden []string, all bool) *View {
	if len(hidden) == 0 && !all {
		return v
	}
	key := strings.Join(hidden, " ")
	v.mu.Lock()
	defer v.mu.Unlock()
	if w := v.without[key]; w != nil {
		return w
	}
	kept := func(name string) bool { return !all && !slices.Contains(hidden, name) }
	w := &View{byName: make(map[string]*Tool), vacant: v.vacant, since: v.since}
	for _, t := range v.Tools {
		if kept(t.Name) {
			w.Tools = append(w.Tools, t)
			w.byName[t.Name] = t
		}
	}
	for _, r := range v.Resources {
		if kept(r.Name) {
			w.Resources = append(w.Resources, r)
		}
	}
	for _, p := range v.Prompts {
		if kept(p.Name) {
			w.Prompts = append(w.Prompts, p)
		}
	}
	w.list = encodeList(w.Tools)
	if v.without == nil || len(v.without) >= maxWithout {
		v.without = make(map[string]*View)
	}
	v.without[key] = w
	return w
}

// Others returns the names, as the policy has them, of resources and prompts.
func (v *View) Others() []string {
	var out []string
	for _, r := range v.Resources {
		out = append(out, r.Name)
	}
	for _, p := range v.Prompts {
		out = append(out, p.Name)
	}
	return out
}

// HasOther reports whether the tenant has a resource or prompt of that name.
func (v *View) HasOther(name string) bool { return hasOther(v.Resources, v.Prompts, name) }

// HasOther reports whether there is a resource or prompt of that name, whoever may use it.
func (c *Catalog) HasOther(name string) bool { return hasOther(c.resources, c.prompts, name) }

func hasOther(resources []*Resource, prompts []*Prompt, name string) bool {
	return slices.ContainsFunc(resources, func(r *Resource) bool { return r.Name == name }) ||
		slices.ContainsFunc(prompts, func(p *Prompt) bool { return p.Name == name })
}

// View returns the tenant's view.
func (c *Catalog) View(t *tenant.Tenant) *View {
	if v, ok := c.views.Load(t); ok {
		return v.(*View)
	}
	v := &View{byName: make(map[string]*Tool), since: c.since}
	allows := func(name, owner string, builtin bool) bool {
		return (owner == "" || owner == t.ID) && t.Allows(name, builtin)
	}
	for _, tool := range c.tools {
		if allows(tool.Name, tool.Owner, tool.Builtin) {
			v.Tools = append(v.Tools, tool)
			v.byName[tool.Name] = tool
		}
	}
	for _, r := range c.resources {
		if allows(r.Name, r.Owner, false) {
			v.Resources = append(v.Resources, r)
		}
	}
	for _, r := range c.vacant {
		if allows(r.Name, r.Owner, false) {
			v.vacant = append(v.vacant, r)
		}
	}
	for _, p := range c.prompts {
		if allows(p.Name, p.Owner, false) {
			v.Prompts = append(v.Prompts, p)
		}
	}
	v.list = encodeList(v.Tools)
	actual, _ := c.views.LoadOrStore(t, v)
	return actual.(*View)
}

// Lookup returns the tool of that name, or nil where the tenant has none such.
func (v *View) Lookup(name string) *Tool { return v.byName[name] }

// Prompt returns the prompt of that name, or nil.
func (v *View) Prompt(name string) *Prompt {
	if i := slices.IndexFunc(v.Prompts, func(p *Prompt) bool { return p.Name == name }); i >= 0 {
		return v.Prompts[i]
	}
	return nil
}

// JSON returns the list as the Octopus dialect has it: a JSON array of {name,
// description, inputSchema, outputSchema?}. Not to be changed.
func (v *View) JSON() []byte { return v.list }

func encodeList(tools []*Tool) []byte {
	type entry struct {
		Name         string         `json:"name"`
		Description  string         `json:"description"`
		InputSchema  jsontext.Value `json:"inputSchema"`
		OutputSchema jsontext.Value `json:"outputSchema,omitempty"`
		Unavailable  bool           `json:"unavailable,omitzero"`
	}
	list := make([]entry, 0, len(tools))
	for _, t := range tools {
		list = append(list, entry{t.Name, t.Description, jsontext.Value(t.InputSchema), jsontext.Value(t.OutputSchema), t.Unavailable})
	}
	out, err := jsonv2.Marshal(list)
	if err != nil {
		panic(err) // the schemas were parsed when the tools were compiled
	}
	return out
}
