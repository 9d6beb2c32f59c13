// Package auth decides whether a request may pass.
//
// A [Gate] holds one immutable [Snapshot] of everything a decision reads;
// [Gate.Decide] loads it once, goes through the stages of contract section 3 in
// their order, and stops at the first that fails. It does no I/O. What it
// returns is the one value that the answer, the metric and the log are made of.
//
// It refuses what it cannot decide, and writes no HTTP answers.
package auth

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/forwarded"
	"github.com/sangate/sangate/server/jwt"
	"github.com/sangate/sangate/server/tenant"
	"github.com/sangate/sangate/server/tool"
)

// A Snapshot is all that a decision reads. It is immutable: a change is a new
// one, with the next generation.
type Snapshot struct {
	Generation uint64
	PKI        *pki.Snapshot
	TLS        *tls.Config // for handshakes under PKI
	Tenants    *tenant.Table
	Admins     *tenant.Table // those who may use /api
	Keys       *apikey.Ring
	Proxies    *forwarded.Proxies // who may say whose certificate it was shown
	Tokens     *jwt.Verifier      // nil: there are no issuers
	Tools      *tool.Catalog
}

// A Gate decides by the snapshot in force.
type Gate struct {
	cur atomic.Pointer[Snapshot]
	now func() time.Time
}

// NewGate makes a gate; now is its clock.
func NewGate(first *Snapshot, now func() time.Time) *Gate {
	g := &Gate{now: now}
	g.cur.Store(first)
	return g
}

// Snapshot returns the one in force.
func (g *Gate) Snapshot() *Snapshot { return g.cur.Load() }

// Swap puts a new snapshot in force.
func (g *Gate) Swap(s *Snapshot) { g.cur.Store(s) }

// A Request is what a decision is made about.
type Request struct {
	Peer          *pki.Peer
	Via           *pki.Peer // the proxy that carried the certificate, if one did
	Authorization []string  // values of the Authorization header
	TenantHeader  []string  // values of X-Octopus-Tenant-Id
	TenantAlias   bool      // a header that some proxies turn into the tenant header was sent
	Admin         bool      // it is for /api: the certificate must be an admin's
	Lockout       Lockout   // nil: no identity is locked out
}

// Lockout reports how long an identity of a tenant has to wait until it may send a
// token again; zero if it may now.
type Lockout interface {
	Locked(tenant, identity string) time.Duration
}

// tenantHeader is how a client says which tenant it means.
const tenantHeader = "X-Octopus-Tenant-Id"

// RequestOf takes what the decision needs from an HTTP request.
func RequestOf(peer, via *pki.Peer, h http.Header) Request {
	return Request{
		Peer:          peer,
		Via:           via,
		Authorization: h["Authorization"],
		TenantHeader:  h[tenantHeader],
		TenantAlias:   hasAlias(h),
	}
}

// A Principal is who an admitted request comes from. TenantID and Key identify it to
// everything that is counted or kept for one client.
type Principal struct {
	TenantID string
	Key      string // the SAN that the tenant's rule matched, with its type; "" if none did
	SAN      string // the same without its type
	Identity *pki.Identity
	NotAfter time.Time  // of the certificate
	KeyID    string     // of the API key, where one was checked
	KeyOf    string     // the tenant that the API key is of
	Token    *jwt.Token // the JWT, where one was checked
}

// A Decision is the outcome for one request.
type Decision struct {
	Stage     Stage
	Reason    Reason
	Tenant    *tenant.Tenant // nil before the certificate was mapped
	Rule      string         // the SAN rule that named the tenant
	Principal Principal
	Tools     *tool.View   // of the tenant, where admitted; nil for an admin
	Snapshot  *Snapshot    // what was decided by
	Detail    string       // beside the reason, for the operator
	Missing   *jwt.Missing // a key that may come; nil where waiting is of no use
	Tool      string       // that it is about, where there is one of that name
	Used      string       // resource or prompt that it is about, by [Decision.Read]
	Via       *pki.Peer    // the proxy that carried the certificate, if one did
	JWT       bool         // it was a JWT that was sent as second factor

	RetryAfter time.Duration // where it was too often

	key *apikey.Key // where one was checked
	pop bool        // by the scheme MTLS_POP, which says that it is bound

	facts map[string]any // that the condition of the policy looks at; nil without one
}

// Name returns the name of the principal for display: the SAN that the tenant's rule
// matched, else [pki.Identity.Name].
func (p *Principal) Name() string {
	if p.SAN == "" {
		return p.Identity.Name()
	}
	return p.SAN
}

// OK reports whether the request may pass.
func (d *Decision) OK() bool { return d.Reason == OK }

// What can have been checked.
var (
	byCertificate = []string{"certificate"}
	byKey         = []string{"certificate", "api_key"}
	byToken       = []string{"certificate", "jwt"}
)

// Factors names what was checked, for whoami. Not to be changed.
func (d *Decision) Factors() []string {
	switch {
	case d.Principal.KeyID != "":
		return byKey
	case d.Principal.Token != nil:
		return byToken
	}
	return byCertificate
}

// Decide goes through every stage up to the policy on a tool, which is
// [Decision.Call]. An admitted request has reason OK.
func (g *Gate) Decide(r Request) Decision {
	var d Decision
	g.DecideOn(&r, &d)
	return d
}

// DecideOn is [Gate.Decide] without copies; d is the zero value.
func (g *Gate) DecideOn(r *Request, d *Decision) {
	if g.agree(r, d, g.now()); d.OK() && !r.Admin {
		d.Tools = d.Snapshot.Tools.View(d.Tenant)
		d.restrict(r)
	}
}

// decide goes through the steps. They are called by name: through a list of them
// every decision would be allocated.
func (d *Decision) decide(r *Request, now time.Time) Reason {
	if reason := certificate(d, r, now); reason != "" {
		return reason
	}
	if r.Lockout != nil {
		// Policy, but it comes before the token, else it would not keep anybody
		// from trying.
		if d.RetryAfter = r.Lockout.Locked(d.Principal.TenantID, d.Principal.Key); d.RetryAfter > 0 {
			return LockedOut
		}
	}
	if reason := bearer(d, r, now); reason != "" {
		return reason
	}
	return agreement(d, r)
}

// CheckCertificate looks at the certificate alone: it is for what needs no
// tenant, such as /health. via is the proxy that carried it, or nil.
func (g *Gate) CheckCertificate(peer, via *pki.Peer) Decision {
	d := Decision{Snapshot: g.cur.Load(), Stage: Passed, Reason: OK, Via: via}
	d.Principal.Identity = peer.Identity
	if reason := proxy(d.Snapshot, via, g.now()); reason != "" {
		return d.refused(reason)
	}
	if reason := peer.Check(d.Snapshot.PKI, g.now()); reason != "" {
		return d.refused(reason)
	}
	return d
}

// Call applies the tenant's policy to the call of one tool of an admitted
// request. A tool that is not there at all is not refused: there is nothing to
// allow. args nil are not looked at: then nothing will be called with them. What
// is to be evaluated ends with ctx, and is then refused.
func (d *Decision) Call(ctx context.Context, name string, args []byte) {
	if !d.OK() || d.Snapshot.Tools.Lookup(name) == nil {
		return
	}
	if d.Tool = name; d.Tools.Lookup(name) == nil {
		d.Reason, d.Stage = ToolDenied, stageOf(ToolDenied)
		return
	}
	if c := d.condition(); c != nil && args != nil {
		d.hold(ctx, c, name, args)
	}
}

// Read applies the tenant's condition to a prompt, with its arguments, or a resource,
// with its URI as the argument uri, of an admitted request. That the tenant may see it
// is known: it was found in [Decision.Tools].
func (d *Decision) Read(ctx context.Context, name string, args []byte) {
	d.Used = name
	if c := d.condition(); c != nil && d.OK() {
		d.hold(ctx, c, name, args)
	}
}

// Refused is the decision as it stands when something else refuses the request.
func (d Decision) Refused(r Reason, retry time.Duration) Decision {
	d = d.refused(r)
	d.RetryAfter = retry
	return d
}

func (d Decision) refused(r Reason) Decision {
	d.Reason, d.Stage = r, stageOf(r)
	return d
}

// Carried is the decision on a request of a proxy that carries no certificate, or
// one that was refused.
func (g *Gate) Carried(via *pki.Peer, err error) Decision {
	d := Decision{Snapshot: g.cur.Load(), Via: via, Detail: err.Error()}
	d.Principal.Identity = via.Identity
	return d.refused(pki.ReasonOf(err, pki.BadCertificate))
}

// proxy: where one carries the certificate, it is still one, by a certificate of
// its own that is still good.
func proxy(s *Snapshot, via *pki.Peer, now time.Time) Reason {
	if via == nil {
		return ""
	}
	if reason := via.Check(s.PKI, now); reason != "" {
		return reason
	}
	if _, ok := s.Proxies.Find(via); !ok {
		return pki.CertUntrusted
	}
	return ""
}

// certificate: still good, well-formed, and mapped to one enabled tenant.
func certificate(d *Decision, r *Request, now time.Time) Reason {
	if reason := proxy(d.Snapshot, r.Via, now); reason != "" {
		return reason
	}
	if reason := r.Peer.Check(d.Snapshot.PKI, now); reason != "" {
		return reason
	}
	if r.Peer.IdentityErr != nil {
		return pki.ReasonOf(r.Peer.IdentityErr, pki.SANInvalid)
	}
	table := d.Snapshot.Tenants
	if r.Admin {
		table = d.Snapshot.Admins
	}
	m, reason := table.Identify(r.Peer.Identity)
	d.Tenant, d.Rule = m.Tenant, m.Rule // @admins has the place of a tenant
	d.Principal.TenantID = m.ID
	if reason == "" || reason == tenant.Disabled {
		d.Principal.Key, d.Principal.SAN = r.Peer.Identity.Key(m.SAN), r.Peer.Identity.SANs[m.SAN].Value
	}
	return reason
}
