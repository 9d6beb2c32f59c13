package auth

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/sangate/sangate/server/expr"
	"github.com/sangate/sangate/server/tenant"
)

// condition is that of the tenant's policy; nil where there is none.
func (d *Decision) condition() *tenant.Condition {
	if d.Tenant == nil || d.Tenant.Tools == nil {
		return nil
	}
	return d.Tenant.Tools.Condition
}

// LooksAtArguments reports whether [Decision.Call] wants the arguments.
func (d *Decision) LooksAtArguments() bool { return d.condition() != nil }

// restrict takes out of the view what the condition does not let this caller have,
// whatever the arguments.
func (d *Decision) restrict(r *Request) {
	c := d.condition()
	if c == nil {
		return
	}
	d.facts = d.known(r, c)
	var hidden []string
	if !c.UsesTool() {
		if c.CanHold(d.facts) {
			return
		}
		d.Tools = d.Tools.Without(nil, true)
		return
	}
	for _, t := range d.Tools.Tools {
		d.facts["tool"] = t.Name
		if !c.CanHold(d.facts) {
			hidden = append(hidden, t.Name)
		}
	}
	for _, name := range d.Tools.Others() {
		d.facts["tool"] = name
		if !c.CanHold(d.facts) {
			hidden = append(hidden, name)
		}
	}
	delete(d.facts, "tool")
	d.Tools = d.Tools.Without(hidden, false)
}

// known is what a condition can look at, but for tool and arguments.
func (d *Decision) known(r *Request, c *tenant.Condition) map[string]any {
	id := d.Principal.Identity
	sans := make([]string, len(id.SANs))
	for i, san := range id.SANs {
		sans[i] = san.String()
	}
	token := map[string]any{"issuer": "", "subject": "", "client": "", "claims": map[string]any{}}
	if t := d.Principal.Token; t != nil && c.UsesToken() {
		token["issuer"], token["subject"], token["client"] = t.Issuer.Name, t.Subject, t.Client
		token["claims"] = claimsOf(r.Authorization)
	}
	vars := d.Tenant.Vars
	if vars == nil {
		vars = map[string]string{}
	}
	return map[string]any{
		"tool":     "",
		"tenant":   map[string]any{"id": d.Principal.TenantID, "vars": vars},
		"identity": map[string]any{"name": d.Principal.Name(), "serial": id.Serial, "sans": sans},
		"token":    token,
	}
}

// claimsOf reads the claims of a token that was verified, or has them empty.
func claimsOf(authorization []string) any {
	if len(authorization) == 1 {
		parts := strings.Split(authorization[0], ".")
		if len(parts) == 3 {
			payload, err := base64.RawURLEncoding.DecodeString(parts[1])
			if err == nil {
				if claims, err := expr.Decode(payload, nil); err == nil {
					return claims
				}
			}
		}
	}
	return map[string]any{}
}

// hold evaluates the condition for a call of a tool, prompt or resource.
func (d *Decision) hold(ctx context.Context, c *tenant.Condition, name string, args []byte) {
	decoded, err := expr.Decode(args, nil)
	if err == nil {
		facts := map[string]any{"args": decoded}
		for name, fact := range d.facts {
			facts[name] = fact
		}
		facts["tool"] = name
		err = c.Holds(ctx, facts)
	}
	if err != nil {
		d.Detail = err.Error()
		d.Reason, d.Stage = ToolDenied, stageOf(ToolDenied)
	}
}
