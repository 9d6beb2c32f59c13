package explain

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/docs"
	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/steps"
	"github.com/sangate/sangate/server/tenant"
)

// A Report is the decision, taken apart.
type Report struct {
	Allowed bool         `json:"allowed"`
	Stage   string       `json:"stage"`            // where it ended
	Reason  string       `json:"reason,omitempty"` // of the closed set; none where there is no such tool
	Tenant  string       `json:"tenant,omitempty"`
	Name    string       `json:"identity,omitempty"` // the SAN that identifies the client
	Rule    string       `json:"rule,omitempty"`     // the SAN rule that named the tenant
	Means   string       `json:"means,omitempty"`
	Likely  string       `json:"likely,omitempty"` // causes
	Do      string       `json:"do,omitempty"`
	Steps   []steps.Step `json:"steps"`
	Notes   []string     `json:"notes,omitempty"` // what was not looked at

	snap     *auth.Snapshot
	question Question
}

// order is that of the decision's steps, which are named after the stage of their
// refusals.
var order = []string{"handshake", "certificate", "tenant", "bearer", "agreement", "policy"}

func newReport(snap *auth.Snapshot, q Question, notes []string) *Report {
	r := &Report{snap: snap, question: q, Notes: append(notes,
		"limits and lockout are not looked at: they depend on what else is asked",
		"that the client has the certificate's key, only a handshake shows")}
	for _, name := range order {
		r.Steps = append(r.Steps, steps.Step{Name: name, Outcome: steps.NotReached})
	}
	return r
}

func (r *Report) step(name string) *steps.Step {
	return &r.Steps[slices.IndexFunc(r.Steps, func(s steps.Step) bool { return s.Name == name })]
}

// handshake notes how the chain was verified.
func (r *Report) handshake(err error) {
	s := r.step("handshake")
	leaf := r.question.Chain[0]
	s.Detail = append(s.Detail, fmt.Sprintf("subject %q, issuer %q, %s to %s", pki.NameText(leaf.Subject), pki.NameText(leaf.Issuer),
		leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339)))
	if s.Outcome = steps.OK; err == nil {
		return
	}
	reason, detail := pki.BadCertificate, err.Error()
	if e, is := errors.AsType[*pki.RefusedError](err); is {
		reason, detail = e.Reason, e.Detail
	}
	s.Outcome, s.Detail = steps.Refused, append(s.Detail, detail)
	r.end("handshake", string(reason))
}

func (r *Report) end(stage, reason string) {
	r.Stage, r.Reason = stage, reason
	entry, _ := docs.Reason(reason)
	r.Means, r.Likely, r.Do = entry.Means, entry.Likely, entry.Do
}

// decided reads the steps off the decision.
func (r *Report) decided(d *auth.Decision, unknownTool bool) {
	r.Allowed, r.Tenant, r.Name, r.Rule = d.OK() && !unknownTool, d.Principal.TenantID, d.Principal.SAN, d.Rule
	r.end(string(d.Stage), string(d.Reason))
	last := lastStep(d)
	for i := range r.Steps[1:] {
		s := &r.Steps[i+1]
		if s.Outcome = steps.OK; s.Name == last {
			s.Outcome = steps.Refused
		}
		s.Detail = r.detail(s.Name, d)
		if s.Name == last {
			break
		}
	}
	if unknownTool {
		r.Stage, r.Reason, r.Do = string(auth.Policy), "", ""
		r.Means = fmt.Sprintf("There is no tool %q among those of the gate itself; the client gets 404.", r.question.Tool)
		r.step("policy").Outcome = steps.Refused
	}
}

// lastStep is the one that refused; "" where none did.
func lastStep(d *auth.Decision) string {
	switch d.Reason {
	case tenant.Unmapped, tenant.Ambiguous, tenant.Disabled:
		return "tenant"
	case auth.OK:
		return ""
	}
	return string(d.Stage)
}

func (r *Report) detail(step string, d *auth.Decision) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	id := d.Principal.Identity
	switch step {
	case "certificate":
		add("serial %s, good until %s", id.Serial, d.Principal.NotAfter.UTC().Format(time.RFC3339))
		for _, san := range id.SANs {
			add("%s", san)
		}
		if len(id.SANs) == 0 {
			_, err := pki.ParseIdentity(r.question.Chain[0])
			add("%v", err)
		}
	case "tenant":
		return r.tenants(d)
	case "bearer":
		return r.bearer(d)
	case "agreement":
		add("certificate %s", d.Principal.TenantID)
		if d.Principal.KeyID != "" {
			add("API key %s", d.Principal.KeyOf)
		}
		if t := d.Principal.Token; t != nil {
			add("token %s%s", orNone(t.Tenant), bound(d))
		}
		if r.question.TenantHeader != nil {
			add("header %q", *r.question.TenantHeader)
		}
	case "policy":
		if r.question.Tool != "" {
			add("tool %s", r.question.Tool)
		}
		if d.Tools != nil {
			names := make([]string, len(d.Tools.Tools))
			for i, t := range d.Tools.Tools {
				names[i] = t.Name
			}
			add("may call: %s", strings.Join(names, ", "))
		}
	}
	return out
}

// tenants tells for each name which rule it matches.
func (r *Report) tenants(d *auth.Decision) (out []string) {
	table := r.snap.Tenants
	if r.question.Admin {
		table = r.snap.Admins
	}
	for _, san := range d.Principal.Identity.SANs {
		if m, found := table.Lookup(san); found {
			out = append(out, fmt.Sprintf("%s: tenant %s by rule %s", san, m.ID, m.Rule))
		} else {
			out = append(out, fmt.Sprintf("%s: no rule", san))
		}
	}
	if d.Principal.Key != "" && len(d.Principal.Identity.SANs) > 1 {
		out = append(out, "identity: "+d.Principal.Key)
	}
	return out
}

func (r *Report) bearer(d *auth.Decision) (out []string) {
	out = append(out, "secondFactor "+string(d.Tenant.SecondFactor))
	switch t := d.Principal.Token; {
	case r.question.Token == nil:
		out = append(out, "no token was given")
	case t != nil:
		out = append(out, fmt.Sprintf("token of issuer %s, sub %q, good until %s", t.Issuer.Name, t.Subject, t.NotAfter.UTC().Format(time.RFC3339)))
	case d.Principal.KeyID != "":
		out = append(out, "API key "+d.Principal.KeyID)
	case d.JWT:
		out = append(out, "a token of an issuer")
	}
	if d.Detail != "" {
		out = append(out, d.Detail)
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "of no tenant"
	}
	return s
}

func bound(d *auth.Decision) string {
	switch c := &d.Principal.Token.Binding; {
	case c.Other:
		return ", bound to something that is no certificate"
	case c.Matches(&d.Principal.Identity.Fingerprint):
		return ", bound to this certificate"
	case c.Certificate:
		return ", bound to another certificate"
	}
	return ", not bound"
}
