package tool

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// maxRead bounds the URI that is compared with templates, in bytes.
const maxRead = 2 << 10

// reading is what the URIs of a view's resources are looked up in; it is made at the first
// look.
type reading struct {
	once      sync.Once
	byURI     map[string]*Resource // no templates
	templates []*Resource          // the most senior first
}

func (v *View) prepareReading() {
	v.reading.byURI = make(map[string]*Resource)
	for _, r := range slices.Concat(v.Resources, v.vacant) {
		if r.Template {
			v.reading.templates = append(v.reading.templates, r)
		} else {
			v.reading.byURI[r.URI] = r
		}
	}
	slices.SortFunc(v.reading.templates, func(a, b *Resource) int {
		return cmp.Or(cmp.Compare(v.seniority(a), v.seniority(b)), cmp.Compare(a.URI, b.URI))
	})
}

// seniority orders resources by how long their source has had them: the least first.
// Templates of sources that leave open what or where a resource is, such as {+uri} and
// file:///{+path}, go last: else a source that is the first to answer after a restart
// would get the reads of all others by one of them.
func (v *View) seniority(r *Resource) uint64 {
	const last = 1 << 63
	since := v.since[r]
	if _, place, ok := strings.Cut(r.fixed, ":"); r.Template && since != 0 && (!ok || strings.Trim(place, "/") == "") {
		return since | last
	}
	return since
}

// Resource returns the resource that has the URI, or else the template; nil if there is
// none. If several sources have it, it is that one's which has had its resource or template
// for longest: a source that begins to offer a resource within the template of another
// one, or a template for a resource of another, gets none of its reads, also while that one
// was not asked yet. Of one source, a resource goes before its templates, and those go by their text.
func (v *View) Resource(uri string) *Resource {
	v.reading.once.Do(v.prepareReading)
	found := v.reading.byURI[uri]
	if len(uri) > maxRead {
		return found
	}
	for i, t := range v.reading.templates {
		if found != nil && v.seniority(found) < v.seniority(t) {
			break
		}
		if t.matches(uri) {
			if found == nil || found.Upstream != t.Upstream {
				found = firstOf(v.reading.templates[i:], t.Upstream, uri)
			}
			break
		}
	}
	if slices.Contains(v.vacant, found) {
		return nil
	}
	return found
}

// firstOf returns the first template of a source, by its text, that has the URI.
func firstOf(templates []*Resource, source, uri string) (first *Resource) {
	for _, t := range templates {
		if t.Upstream == source && (first == nil || t.URI < first.URI) && t.matches(uri) {
			first = t
		}
	}
	return first
}
