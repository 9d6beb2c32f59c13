package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/answer"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/backend"
	"github.com/sangate/sangate/server/console"
	"github.com/sangate/sangate/server/tenant"
)

// shown is what the console shows.
func (s *Server) shown() console.Source {
	return console.Source{Version: s.opts.Version, Now: s.opts.Now, Overview: s.showOverview, Trust: s.showTrust, Tenants: s.showTenants,
		Connections: s.showConnections, Upstreams: s.showUpstreams, Documents: s.showDocuments, Refusals: &s.refusals, Turn: admin.NewTurns().Do} // not those of /metrics, as a view may wait for a reload
}

func (s *Server) showOverview() console.Overview {
	snap := s.gate.Snapshot()
	o := console.Overview{Server: s.showCertificate(admin.InForce(snap.PKI)[0]), Started: s.started, Generation: snap.Generation, File: s.opts.ConfigFile, Tenants: len(snap.Tenants.Tenants())}
	s.mu.Lock()
	o.Loaded, o.ConfigError, o.CertError = s.loaded, s.failed.config.Text(), s.failed.certificates.Text()
	o.StateErrors = map[string]string{"Keys": s.failed.keys.Text(), "The denylist": s.failed.denied.Text(), "Credentials": s.failed.credentials.Text()}
	s.mu.Unlock()
	for _, check := range s.checks() {
		c := console.Check{Name: check.Name}
		if _, err := check.Fn(context.Background()); err != nil {
			c.Problem = err.Error()
		}
		o.Checks = append(o.Checks, c)
	}
	o.Connections, o.Requests = s.conns.count(), s.live.count()
	for _, u := range s.backend.Upstreams() {
		o.Upstreams++
		if !u.Up {
			o.Unavailable++
		}
	}
	o.Documents = s.showDocuments()
	for reason, n := range s.metrics.Refused() {
		o.Refused = append(o.Refused, console.Count{Reason: reason, N: n})
	}
	slices.SortFunc(o.Refused, func(a, b console.Count) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Reason, b.Reason)) })
	return o
}

func (s *Server) showTrust() console.Trust {
	var t console.Trust
	for _, c := range s.inForce() {
		if c.Role == "client_ca" {
			t.Roots = append(t.Roots, console.Certificate{Role: c.Role, Name: c.Name, NotBefore: c.NotBefore, NotAfter: c.NotAfter})
			continue
		}
		t.Certificates = append(t.Certificates, s.showCertificate(c))
	}
	slices.SortStableFunc(t.Certificates[1:], func(a, b console.Certificate) int { return strings.Compare(a.Name, b.Name) })
	held := s.pki.Held()
	for _, l := range held.Lists {
		t.Lists = append(t.Lists, console.List{Name: l.Name, Kind: "CRL", Issuer: pki.NameText(l.Issuer.Subject), Entries: l.Len(), Next: l.NextUpdate})
	}
	for name, list := range map[string]*revocation.Denylist{held.FileName: held.File, deniedByAPI: held.Stored} {
		if list != nil {
			t.Lists = append(t.Lists, console.List{Name: name, Kind: "denylist", Entries: list.Len()})
		}
	}
	slices.SortStableFunc(t.Lists, func(a, b console.List) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	return t
}

// showCertificate is one that somebody else is shown.
func (s *Server) showCertificate(c admin.Certificate) console.Certificate {
	out := console.Certificate{Role: c.Role, Name: c.Name, NotBefore: c.NotBefore, NotAfter: c.NotAfter}
	if c.Role == "server" {
		out.Renew = s.nextRenewal()
	}
	id, err := pki.ParseIdentity(c.Certificate)
	out.Serial = id.Serial
	for _, san := range id.SANs {
		if err == nil {
			out.Names = append(out.Names, san.String())
		}
	}
	return out
}

// showTenants looks at all tenants, and makes something of those alone that it shows.
func (s *Server) showTenants(filter string, atMost int) console.Tenants {
	s.mu.Lock()
	conf, stored := s.config.Load(), s.stored
	s.mu.Unlock()
	out := console.Tenants{List: make([]console.Tenant, 0, min(atMost, len(conf.Tenants)))}
	shown := make(map[string]*console.Tenant)
	for i := range conf.Tenants {
		t := &conf.Tenants[i]
		if !strings.Contains(t.ID, filter) && !slices.ContainsFunc(t.SANs, func(rule string) bool { return strings.Contains(rule, filter) }) {
			continue
		}
		if out.Total++; len(out.List) == atMost {
			continue
		}
		row := console.Tenant{ID: t.ID, SecondFactor: cmp.Or(t.SecondFactor, string(tenant.Required)), Enabled: t.Enabled, Rules: t.SANs}
		row.Passed, row.Refused = s.metrics.OfTenant(t.ID)
		if t.Tools != nil {
			row.Allow, row.Deny, row.Condition = t.Tools.Allow, t.Tools.Deny, t.Tools.Condition
		}
		out.List = append(out.List, row)
		shown[t.ID] = &out.List[len(out.List)-1]
	}
	now := s.opts.Now()
	for _, list := range [][]apikey.Entry{conf.Keys, stored} {
		for i := range list {
			if row := shown[list[i].Tenant]; row != nil {
				row.Keys = append(row.Keys, console.Key{ID: list[i].ID, State: list[i].State(now), NotAfter: list[i].NotAfter})
			}
		}
	}
	return out
}

func (s *Server) showConnections(atMost int) console.Connections {
	out := s.conns.show(atMost)
	out.Requests, out.Busy = s.live.show(atMost)
	return out
}

func (s *Server) showUpstreams() []console.Upstream {
	var out []console.Upstream
	for _, u := range s.backend.Upstreams() {
		shown := console.Upstream{Name: u.Name, Where: s.config.Load().RedactText(u.Where), Protocol: u.Protocol, Up: u.Up, Problem: s.redactText(u.Problem),
			Tools: u.Tools, Missing: u.Missing}
		for _, l := range u.LeftOut {
			shown.LeftOut = append(shown.LeftOut, console.LeftOut(l))
		}
		for _, c := range s.collisions(u.Name) {
			if shown.Missing++; len(shown.LeftOut) < maxShown {
				shown.LeftOut = append(shown.LeftOut, console.LeftOut{Kind: c.Kind, Name: pki.Cut(c.Name, 128), Why: whoseName(c)})
			}
		}
		out = append(out, shown)
	}
	return out
}

func (s *Server) showDocuments() []console.Document {
	var out []console.Document
	for _, d := range s.backend.Documents() {
		shown := console.Document{Name: d.Name, Where: d.Where, Problem: d.Problem, Tools: d.Tools, Missing: d.Missing}
		for _, l := range d.LeftOut {
			shown.LeftOut = append(shown.LeftOut, console.LeftOut{Kind: "operation", Name: l.Name, Why: l.Why})
		}
		for _, c := range s.collisions(backend.DocumentSource(d.Name)) {
			shown.Tools = slices.DeleteFunc(slices.Clone(shown.Tools), func(name string) bool { return name == c.Name })
			if shown.Missing++; len(shown.LeftOut) < maxShown {
				shown.LeftOut = append(shown.LeftOut, console.LeftOut{Kind: "operation", Name: c.Name, Why: whoseName(c)})
			}
		}
		out = append(out, shown)
	}
	return out
}

func (cs *connections) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open)
}

// show returns the oldest.
func (cs *connections) show(atMost int) console.Connections {
	cs.mu.Lock()
	open := slices.Collect(maps.Keys(cs.open))
	cs.mu.Unlock()
	slices.SortFunc(open, func(a, b *connection) int { return a.since.Compare(b.since) })
	out := console.Connections{Total: len(open)}
	for _, c := range open[:min(len(open), atMost)] {
		protocol := "HTTP/2"
		if c.http1 != nil {
			protocol = "HTTP/1.1"
		}
		out.List = append(out.List, console.Connection{Remote: c.RemoteAddr().String(), Identity: c.name, Protocol: protocol, Since: c.since, NotAfter: c.peer.Leaf.NotAfter})
	}
	return out
}

func (l *live) count() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for q := l.root.after; q != &l.root; q = q.after {
		n++
	}
	return n
}

// show returns the oldest, and how many there are.
func (l *live) show(atMost int) (out []console.Request, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for q := l.root.after; q != &l.root; q = q.after {
		if n++; n > atMost {
			continue
		}
		r := console.Request{ID: q.id, Tenant: q.decision.Principal.TenantID, Identity: q.decision.Principal.Name(), Via: nameOf(q.via), Key: keyOf(&q.decision.Principal),
			What: q.http.Method + " " + q.http.URL.Path, Remote: q.http.RemoteAddr, Since: q.began}
		switch doing := q.doing.Load(); {
		case doing == listening:
			r.Stream = true
		case doing != nil:
			r.Tool = *doing
		}
		out = append(out, r)
	}
	return out, n
}

// showRefused has the console show a request that was refused.
func (s *Server) showRefused(q *request, d *auth.Decision, detail string) {
	r := s.refusal(q, d)
	r.Stage, r.Reason, r.Detail = string(d.Stage), string(d.Reason), detail
	s.refusals.Add(r)
}

// showFailure has the console show a request that was told no by something else than
// a decision.
func (s *Server) showFailure(q *request, d *auth.Decision, f *answer.Failure) {
	r := s.refusal(q, d)
	r.Stage, r.Reason, r.Detail = console.AtRequest, f.Code, f.Detail
	s.refusals.Add(r)
}

// refusal is what the console shows of a request that was told no, whoever did.
func (s *Server) refusal(q *request, d *auth.Decision) console.Refusal {
	r := console.Refusal{At: s.opts.Now(), Who: nameOf(q.asked.Peer), Via: nameOf(q.via), Tenant: d.Principal.TenantID, Rule: d.Rule, Key: keyOf(&d.Principal), Tool: cmp.Or(d.Tool, d.Used),
		What: q.http.Method + " " + q.http.URL.Path, Remote: q.http.RemoteAddr, Request: q.id}
	if d.Principal.SAN != "" {
		r.Who = d.Principal.SAN
	}
	if q.via == nil && d.Via != nil { // it carries nobody that can be named
		r.Who, r.Via = "", r.Who
	}
	return r
}

// refusedHandshake is one for the console, with the name in the certificate, if
// one was read.
func refusedHandshake(at time.Time, reason pki.Reason, conn *tls.Conn, err error) console.Refusal {
	r := console.Refusal{At: at, Stage: console.AtHandshake, Reason: string(reason), Detail: pki.Cut(err.Error(), 1024), Remote: conn.RemoteAddr().String()}
	sent := conn.ConnectionState().PeerCertificates
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		sent = bad.UnverifiedCertificates
	}
	if len(sent) > 0 {
		id, err := pki.ParseIdentity(sent[0])
		r.Who = nameOf(&pki.Peer{Leaf: sent[0], Identity: id, IdentityErr: err})
	}
	return r
}

// nameOf says who a certificate is of: its one name, or what it has in the place of a
// good one; "" where there is none.
func nameOf(p *pki.Peer) string {
	switch {
	case p == nil:
		return ""
	case p.IdentityErr != nil:
		return pki.NameText(p.Leaf.Subject)
	}
	return p.Identity.Name()
}

// keyOf says which key or token a request came with, and whose that is.
func keyOf(p *auth.Principal) string {
	switch t := p.Token; {
	case p.KeyID != "":
		return "key " + p.KeyID + " of tenant " + p.KeyOf
	case t != nil && t.Tenant != "":
		return "token of " + t.Issuer.Name + " for tenant " + t.Tenant
	case t != nil:
		return "token of " + t.Issuer.Name
	}
	return ""
}
