package auth

import (
	"time"

	"github.com/sangate/sangate/server/tenant"
	"github.com/sangate/sangate/server/tool"
)

// An Allowance is what says, beside the request itself, that its call may go on.
type Allowance struct {
	tools  *tool.Catalog
	tenant *tenant.Tenant
	san    string
	name   string
}

// Again decides about a request in progress, which may be calling the tool of that name;
// "": it calls none. It makes no view, and a call is looked at only if its policy is not
// the one under which it was allowed before, which allowed is for. So the cost for many
// requests in progress does not grow with the number of tools that their tenant may see.
func (g *Gate) Again(r *Request, name string, allowed *Allowance) (d Decision) {
	if g.agree(r, &d, g.now()); !d.OK() || r.Admin || name == "" {
		return d
	}
	p := Allowance{d.Snapshot.Tools, d.Tenant, d.Principal.Key, name}
	if p == *allowed || d.Snapshot.Tools.Lookup(name) == nil {
		return d
	}
	if d.Tool = name; d.Snapshot.Tools.View(d.Tenant).Lookup(name) == nil || !d.canHold(r, name) {
		return d.refused(ToolDenied)
	}
	*allowed = p
	return d
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
