package config

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/server/egress"
	"github.com/sangate/sangate/server/jwt"
	"github.com/sangate/sangate/server/keyset"
)

// An Issuer is one whose JWTs are taken as the second factor.
type Issuer struct {
	Name        string         `yaml:"name"`
	Issuer      string         `yaml:"issuer"` // the iss claim, byte for byte; may hold {tenantid}
	Audiences   []string       `yaml:"audiences"`
	JWKSURL     string         `yaml:"jwksURL"`
	JWKSFile    Path           `yaml:"jwksFile"` // neither: OpenID Connect discovery
	CAFile      Path           `yaml:"caFile"`   // that the keys' server is verified by; the system's where empty
	Refresh     time.Duration  `yaml:"refresh"`
	Scopes      []string       `yaml:"scopes"`
	Roles       []string       `yaml:"roles"`
	Binding     string         `yaml:"binding"`
	MTLSPoP     bool           `yaml:"mtlsPoP"`
	ClockSkew   *time.Duration `yaml:"clockSkew"`
	Tenants     []IssuerTenant `yaml:"tenants"`
	TenantClaim string         `yaml:"tenantClaim"`

	CA string `yaml:"-"` // what stands in CAFile
}

// An IssuerTenant gives a tenant the tokens that have all these claims.
type IssuerTenant struct {
	Tenant string            `yaml:"tenant"`
	Claims map[string]string `yaml:"claims"`
}

// The defaults and bounds of an issuer.
const (
	clockSkew   = time.Minute
	maxSkew     = 5 * time.Minute
	refresh     = time.Hour
	minRefresh  = time.Second
	maxRefresh  = 24 * time.Hour
	tenantField = "{tenantid}"
)

var (
	issuerName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	guid       = regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)
)

func (d *decoder) checkIssuers(c *Config) {
	names, urls := make(map[string]bool), make(map[string]bool)
	for n := range c.Issuers {
		i := &c.Issuers[n]
		at := fmt.Sprintf("issuers[%d]", n)
		bad := func(key, format string, args ...any) { d.failAt(at+"."+key, key+": "+format, args...) }
		i.Binding = cmp.Or(i.Binding, string(jwt.BindingIfPresent))
		i.Refresh = cmp.Or(i.Refresh, refresh)
		if i.ClockSkew == nil {
			i.ClockSkew = new(clockSkew)
		}
		switch {
		case !issuerName.MatchString(i.Name):
			bad("name", "%q: use lower-case letters, digits, '.', '_' and '-', at most 63; it stands in logs and metrics", i.Name)
		case names[i.Name]:
			bad("name", "%q stands here twice", i.Name)
		}
		if urls[i.Issuer] {
			bad("issuer", "%q stands here twice; a token could be either's", i.Issuer)
		}
		names[i.Name], urls[i.Issuer] = true, true
		d.checkIssuer(i, bad)
		d.checkKeySource(i, at, bad)
		d.checkMappings(c, i, at, bad)
	}
}

func (d *decoder) checkIssuer(i *Issuer, bad func(key, format string, args ...any)) {
	if u, err := url.Parse(strings.ReplaceAll(i.Issuer, tenantField, "t")); err != nil || egress.CheckURL(u.String()) != nil || u.RawQuery != "" {
		bad("issuer", "%s is no https URL; write it as tokens have it in iss, to the last slash", egress.Named(i.Issuer))
	}
	if len(i.Audiences) == 0 || slices.Contains(i.Audiences, "") {
		bad("audiences", "name what tokens for this gate have in aud; of Microsoft Entra ID (v2) it is the client id of the API")
	}
	for key, list := range map[string][]string{"scopes": i.Scopes, "roles": i.Roles} {
		for _, s := range list {
			if s == "" || strings.ContainsAny(s, " \t\"\\") {
				bad(key, "%q: one name each, without spaces and quotes (RFC 6749, 3.3)", s)
			}
		}
	}
	switch jwt.Binding(i.Binding) {
	case jwt.BindingNone, jwt.BindingIfPresent, jwt.BindingRequired:
	default:
		bad("binding", "%q: use none, ifPresent or required", i.Binding)
	}
	if *i.ClockSkew < 0 || *i.ClockSkew > maxSkew {
		bad("clockSkew", "%s: between 0s and %s", *i.ClockSkew, maxSkew)
	}
}

func (d *decoder) checkKeySource(i *Issuer, at string, bad func(key, format string, args ...any)) {
	if i.Refresh < minRefresh || i.Refresh > maxRefresh {
		bad("refresh", "%s: between %s and %s", i.Refresh, minRefresh, maxRefresh)
	}
	switch {
	case i.JWKSFile != "" && i.JWKSURL != "":
		bad("jwksFile", "stands beside jwksURL: leave one of them out")
	case i.JWKSURL != "":
		if err := egress.CheckURL(i.JWKSURL); err != nil {
			bad("jwksURL", "%s", err)
		}
	case i.JWKSFile != "":
		if _, err := keyset.ReadFile(string(i.JWKSFile)); err != nil {
			bad("jwksFile", "%s", plainError(err))
		}
	}
	i.CA = d.readCA(at+".caFile", i.CAFile)
}

// checkMappings wants every token to be one tenant's. An issuer that stands for
// many organizations needs to be told which of them are meant.
func (d *decoder) checkMappings(c *Config, i *Issuer, at string, bad func(key, format string, args ...any)) {
	many := strings.Contains(i.Issuer, tenantField)
	switch {
	case len(i.Tenants) == 0 && i.TenantClaim == "":
		bad("tenants", "say whose its tokens are: tenants: [{tenant: acme, claims: {azp: …}}], or tenantClaim: the claim that names the tenant")
	case i.TenantClaim != "" && many:
		bad("tenantClaim", "%s stands for any organization, and each could name any tenant: map tid to tenants instead", tenantField)
	}
	for j, t := range i.Tenants {
		place := fmt.Sprintf("%s.tenants[%d]", at, j)
		if c.Table != nil && !c.Table.Knows(t.Tenant) {
			d.failAt(place+".tenant", "no tenant %q in the configuration", t.Tenant)
		}
		for name, value := range t.Claims {
			if name == "" || value == "" {
				d.failAt(place+".claims", "claim %q has the value %q; neither can be empty", name, value)
			}
		}
		if len(t.Claims) == 0 {
			d.failAt(place, "tenant %q has no claims: every token would be its", t.Tenant)
		}
		if many && !guid.MatchString(t.Claims["tid"]) {
			d.failAt(place+".claims", "%s stands for any organization: name the one of tenant %q by its tid, a GUID in lower case", tenantField, t.Tenant)
		}
	}
}

// JWT returns the issuer with its keys, as tokens are verified by it.
func (i *Issuer) JWT(keys *keyset.Set) *jwt.Issuer {
	out := &jwt.Issuer{Name: i.Name, URL: i.Issuer, Audiences: i.Audiences, Scopes: i.Scopes, Roles: i.Roles,
		Binding: jwt.Binding(i.Binding), PoP: i.MTLSPoP, Skew: *i.ClockSkew, TenantClaim: i.TenantClaim, Keys: keys}
	for _, t := range i.Tenants {
		out.Mappings = append(out.Mappings, jwt.Mapping{Tenant: t.Tenant, Claims: t.Claims})
	}
	return out
}
