package auth

import (
	"time"

	"github.com/sangate/sangate/server/tenant"
	"github.com/sangate/sangate/server/tool"
)

// A Use is what a request in progress uses, by the name that the policy has for it.
type Use struct {
	Tool  string
	Other string // a resource, template or prompt
}

// An Allowance is what says, beside the request itself, that its use may go on.
type Allowance struct {
	tools  *tool.Catalog
	tenant *tenant.Tenant
	san    string
	use    Use
}

// Again decides about a request in progress, which may be using something. It makes no
// view, and a use is looked at only if its policy is not the one under which it was
// allowed before, which allowed is for. So the cost for many requests in progress does
// not grow with the number of tools that their tenant may see.
func (g *Gate) Again(r *Request, use Use, allowed *Allowance) (d Decision) {
	if g.agree(r, &d, g.now()); !d.OK() || r.Admin || use == (Use{}) {
		return d
	}
	p := Allowance{d.Snapshot.Tools, d.Tenant, d.Principal.Key, use}
	if p == *allowed {
		return d
	}
	d.Tool, d.Used = use.Tool, use.Other
	if use.Tool != "" && d.Snapshot.Tools.Lookup(use.Tool) == nil {
		d.Tool = "" // there is none that could be denied
	}
	view := d.Snapshot.Tools.View(d.Tenant)
	if d.Tool != "" && (view.Lookup(d.Tool) == nil || !d.canHold(r, d.Tool)) {
		return d.refused(ToolDenied)
	}
	if d.Used != "" && d.Snapshot.Tools.HasOther(d.Used) && (!view.HasOther(d.Used) || !d.canHold(r, d.Used)) {
		return d.refused(ToolDenied)
	}
	*allowed = p
	return d
}

// Watch decides whether a stream in progress may be told that the resource of that URI
// is another.
func (g *Gate) Watch(r *Request, uri string) (d Decision) {
	if g.agree(r, &d, g.now()); !d.OK() {
		return d
	}
	for _, resource := range d.Snapshot.Tools.View(d.Tenant).Resources {
		if resource.URI == uri && !resource.Template && d.canHold(r, resource.Name) {
			return d
		}
	}
	return d.refused(ToolDenied)
}

// agree goes through every stage before the policy; d is the zero value.
func (g *Gate) agree(r *Request, d *Decision, now time.Time) {
	d.Snapshot, d.Stage, d.Reason = g.cur.Load(), Passed, OK
	d.Principal.Identity = r.Peer.Identity
	d.Principal.NotAfter, d.Via = r.Peer.NotAfter(), r.Via
	if reason := d.decide(r, now); reason != "" {
		d.Reason, d.Stage = reason, stageOf(reason)
	}
}

// canHold reports whether the tenant's condition lets this caller have the tool with some
// arguments.
func (d *Decision) canHold(r *Request, name string) bool {
	c := d.condition()
	if c == nil {
		return true
	}
	facts := d.known(r, c)
	facts["tool"] = name
	return c.CanHold(facts)
}
