package tool

import "slices"

// Kinds of what an offer holds, as [Collision] has them.
const (
	kindTool     = "tool"
	kindResource = "resource"
	kindTemplate = "resource template"
	kindPrompt   = "prompt"
)

// A claimed is a name that one source has at a time. Templates share the URIs of
// resources.
type claimed struct{ kind, name string }

// A claim is that of a source to a name.
type claim struct {
	source   string
	since    uint64    // counts up: who has had a name longest has the least
	resource *Resource // of that name, as it was last
}

// Claims say which source has each name: the one that had it first and has offered it
// ever since. They are immutable; nil are none.
type Claims map[claimed]claim

// after returns the claims that hold on: those of sources that still offer the name,
// or that are configured and were not asked yet.
func (c Claims) after(offers []*Offer, sources []string) Claims {
	next := make(Claims, len(c))
	offered := make(map[string]map[claimed]bool, len(offers))
	for _, o := range offers {
		names := make(map[claimed]bool, len(o.Tools)+len(o.Resources)+len(o.Prompts))
		for _, t := range o.Tools {
			names[claimed{kindTool, t.Name}] = true
		}
		for _, r := range o.Resources {
			names[claimed{kindResource, r.URI}] = true
		}
		for _, p := range o.Prompts {
			names[claimed{kindPrompt, p.Name}] = true
		}
		offered[o.Source] = names
	}
	for name, held := range c {
		if names, asked := offered[held.source]; names[name] || !asked && slices.Contains(sources, held.source) {
			next[name] = held
		}
	}
	return next
}

// last returns since when the newest claim is held.
func (c Claims) last() (since uint64) {
	for _, held := range c {
		since = max(since, held.since)
	}
	return since
}

// A joint is a catalog in the making.
type joint struct {
	next   *Catalog
	claims Claims
	last   uint64             // the newest of claims
	has    map[claimed]string // what is in it: by whom
	twice  []Collision
}

// admits reports whether the source may have the name, and notes that it has; shown is
// the kind as a collision has it.
func (j *joint) admits(kind, shown, name, source string) bool {
	with, taken := j.has[claimed{kind, name}]
	if !taken && source != "" {
		held, ok := j.claims[claimed{kind, name}]
		if !ok {
			j.last++
			held = claim{source: source, since: j.last}
			j.claims[claimed{kind, name}] = held
		}
		with, taken = held.source, held.source != source
	}
	if taken {
		j.twice = append(j.twice, Collision{shown, name, source, with})
		return false
	}
	j.has[claimed{kind, name}] = source
	return true
}

// hold notes since when the source of a resource has its URI.
func (j *joint) hold(r *Resource) {
	name := claimed{kindResource, r.URI}
	if held, ok := j.claims[name]; ok {
		j.next.since[r] = held.since
		held.resource = r
		j.claims[name] = held
	}
}

// vacate notes what sources have that were not asked yet.
func (j *joint) vacate() {
	for name, held := range j.claims {
		if _, offered := j.has[name]; !offered && held.resource != nil {
			j.next.vacant = append(j.next.vacant, held.resource)
			j.next.since[held.resource] = held.since
		}
	}
}

// Join returns a catalog that has what sources offer, too, with the claims that are
// then in force and with what is left out. What the gate itself has, whose source is
// "", goes first. Every other name stays with the source that has it by the claims
// before, for as long as that one offers it: a source that begins to offer a name of
// another gets none of its calls, wherever it stands in the configuration. A name that
// nobody has goes to the first offer. sources are all that are configured: one that is
// not among the offers was not asked yet, and keeps what it had.
//
// A URI that several have by their resources and templates is read as [View.Resource]
// has it.
func (c *Catalog) Join(offers []*Offer, sources []string, before Claims) (*Catalog, Claims, []Collision) {
	j := &joint{next: &Catalog{byName: make(map[string]*Tool, len(c.tools)), since: make(map[*Resource]uint64)},
		claims: before.after(offers, sources), has: make(map[claimed]string)}
	j.last = j.claims.last()
	for _, t := range c.tools {
		j.has[claimed{kindTool, t.Name}] = ""
		j.next.add(t)
	}
	for _, o := range offers {
		for _, t := range o.Tools {
			if j.admits(kindTool, kindTool, t.Name, o.Source) {
				j.next.add(t)
			}
		}
		for _, r := range o.Resources {
			if j.admits(kindResource, kindOf(r), r.URI, o.Source) {
				j.next.resources = append(j.next.resources, r)
				j.hold(r)
			}
		}
		for _, p := range o.Prompts {
			if j.admits(kindPrompt, kindPrompt, p.Name, o.Source) {
				j.next.prompts = append(j.next.prompts, p)
			}
		}
	}
	j.vacate()
	j.next.sort()
	return j.next, j.claims, j.twice
}
