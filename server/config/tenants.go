package config

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/forwarded"
	"github.com/sangate/sangate/server/limit"
	"github.com/sangate/sangate/server/tenant"
)

func (d *decoder) checkTenants(c *Config) {
	if len(c.Tenants) == 0 {
		d.failAt("tenants", "no tenants: nobody could call anything")
	}
	tenants := make([]*tenant.Tenant, len(c.Tenants))
	for i := range c.Tenants {
		t := &c.Tenants[i]
		if t.SecondFactor == "" {
			t.SecondFactor = string(tenant.Required)
		}
		tenants[i] = &tenant.Tenant{ID: t.ID, SANs: t.SANs, Enabled: t.Enabled, SecondFactor: tenant.SecondFactor(t.SecondFactor), Vars: t.Vars}
		if t.Tools != nil {
			tenants[i].Tools = &tenant.Tools{Allow: t.Tools.Allow, Deny: t.Tools.Deny}
		}
		at := fmt.Sprintf("tenants[%d]", i)
		if t.Tools != nil && t.Tools.Condition != "" {
			var err error
			if tenants[i].Tools.Condition, err = tenant.NewCondition(t.Tools.Condition); err != nil {
				d.failAt(at+".tools.condition", "condition: %s", err)
			}
		}
		tenants[i].Limits = d.checkShare(t.Limits, &c.Limits, at+".limits")
		if t.Limits != nil {
			tenants[i].Connections = t.Limits.Connections
		}
		if len(t.SANs) == 0 {
			d.failAt(at, "tenant %q has no sans: no certificate could be mapped to it", t.ID)
		}
		if t.ID == tenant.Admins {
			d.failAt(at+".id", "%q is no tenant: name those who administer under admins", t.ID)
		}
		if strings.HasPrefix(t.ID, "{") && len(t.Keys) > 0 {
			d.failAt(at+".keys[0]", "tenant %s stands for many: a key here would be good for all of them; mint one for each with `sangate token mint`", t.ID)
			continue
		}
		d.checkKeys(c, t.ID, at, t.Keys)
	}
	table, err := tenant.NewTable(tenants)
	d.ruleErrors(err, "tenants[%d]")
	c.Table = table
}

// checkShare returns the limits of a tenant, with the defaults for what s, which may be
// nil, leaves out.
func (d *decoder) checkShare(s *Share, l *Limits, at string) *limit.Limits {
	out := &limit.Limits{}
	if s != nil {
		if s.Connections < 0 || s.Connections > l.MaxConnections {
			d.failAt(at+".connections", "connections must not be negative, nor above limits.maxConnections (%d)", l.MaxConnections)
		}
		out.Rate = d.checkRate(Rate{s.RequestsPerSecond, s.Burst, s.Concurrent, s.Streams}, at)
		if s.PerIdentity != nil {
			out.PerIdentity = d.checkRate(*s.PerIdentity, at+".perIdentity")
		}
	}
	for r, def := range map[*limit.Rate]Defaults{&out.Rate: l.PerTenant, &out.PerIdentity: l.PerIdentity} {
		r.Concurrent, r.Streams = cmp.Or(r.Concurrent, def.Concurrent), cmp.Or(r.Streams, def.Streams)
	}
	return out
}

func (d *decoder) checkRate(r Rate, at string) limit.Rate {
	if r.RequestsPerSecond < 0 || r.Burst < 0 || r.Concurrent < 0 || r.Streams < 0 || r.RequestsPerSecond > 1e9 {
		d.failAt(at, "limits must not be negative, nor above a billion")
	}
	if r.Burst > 0 && r.RequestsPerSecond == 0 {
		d.failAt(at+".burst", "burst goes with requestsPerSecond; for requests in progress write concurrent")
	}
	return limit.Rate{PerSecond: r.RequestsPerSecond, Burst: r.Burst, Concurrent: r.Concurrent, Streams: r.Streams}
}

// checkAdmins makes the table of those who may use /api; without admins nobody
// stands in it.
func (d *decoder) checkAdmins(c *Config) {
	var entries []*tenant.Tenant
	if a := c.Admins; a != nil {
		if a.SecondFactor == "" {
			a.SecondFactor = string(tenant.Required)
		}
		if len(a.SANs) == 0 {
			d.failAt("admins", "admins has no sans: name the certificates that may administer, such as email:ops@example.org")
		}
		entries = []*tenant.Tenant{{ID: tenant.Admins, SANs: a.SANs, Enabled: true, SecondFactor: tenant.SecondFactor(a.SecondFactor),
			Limits: d.checkShare(nil, &c.Limits, "admins")}}
		d.checkKeys(c, tenant.Admins, "admins", a.Keys)
	}
	table, err := tenant.NewTable(entries)
	d.ruleErrors(err, "admins")
	c.AdminTable = table
}

// checkProxies makes the set of those whose word on a certificate is looked at.
func (d *decoder) checkProxies(c *Config) {
	if len(c.Proxies) == 0 {
		return
	}
	c.ProxySet = &forwarded.Proxies{}
	for i, p := range c.Proxies {
		at := fmt.Sprintf("proxies[%d]", i)
		format := forwarded.Format(p.Header)
		if format != forwarded.ClientCert && format != forwarded.XFCC {
			d.failAt(at+".header", "header %q: use clientCert (RFC 9440) or xfcc (Envoy's)", p.Header)
			continue
		}
		if len(p.SANs) == 0 {
			d.failAt(at, "a proxy without sans: name its certificate, such as dns:proxy.internal")
		}
		for j, rule := range p.SANs {
			if err := c.ProxySet.Add(rule, format); err != nil {
				d.failAt(fmt.Sprintf("%s.sans[%d]", at, j), "%s", err)
			}
		}
	}
}

func (d *decoder) checkRing(c *Config) {
	_, err := apikey.NewRing(c.Keys)
	for _, err := range each(err) {
		d.failAt("tenants", "%s", err)
	}
}

// ruleErrors tells each error of a tenant table at its place; entry is where an
// entry of it stands, with its number where it has one.
func (d *decoder) ruleErrors(err error, entry string) {
	for _, err := range each(err) {
		path, _, _ := strings.Cut(entry, "[")
		if rule, ok := errors.AsType[*tenant.RuleError](err); ok {
			at := strings.Replace(entry, "%d", strconv.Itoa(rule.Tenant), 1)
			path, err = at+".id", rule.Err
			if rule.SAN >= 0 {
				path = fmt.Sprintf("%s.sans[%d]", at, rule.SAN)
			}
		}
		for _, err := range each(err) {
			d.failAt(path, "%s", err)
		}
	}
}

// each returns the errors that were joined, or the one there is.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// checkKeys takes the keys that stand at a place into those of the file.
func (d *decoder) checkKeys(c *Config, owner, place string, keys []Key) {
	for j, k := range keys {
		at := fmt.Sprintf("%s.keys[%d]", place, j)
		e := apikey.Entry{ID: k.ID, Tenant: owner, NotBefore: k.NotBefore, NotAfter: k.NotAfter, Source: "config", Pin: apikey.Pin{SAN: k.SAN, Certificate: k.Cert}}
		if k.ID == "" {
			d.failAt(at, "a key needs an id")
			continue
		}
		digest, err := hex.DecodeString(k.SHA256)
		if err != nil || len(digest) != len(e.Digest) {
			d.failAt(at+".sha256", "sha256 of key %q: write the 64 hexadecimal digits of its SHA-256", k.ID)
			continue
		}
		if err := e.Pin.Check(); err != nil {
			d.failAt(at, "key %q: %s", k.ID, err)
			continue
		}
		copy(e.Digest[:], digest)
		c.Keys = append(c.Keys, e)
	}
}
