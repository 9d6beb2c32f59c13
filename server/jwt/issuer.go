package jwt

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"
	"time"

	"github.com/sangate/sangate/server/keyset"
)

// template is what stands in the place of a tenant's id in the issuer of a
// Microsoft Entra application for several.
const template = "{tenantid}"

// A Binding says whether tokens have to be bound to the certificate they come
// with (RFC 8705, 3).
type Binding string

// The modes of the contract, section 4.
const (
	BindingNone      Binding = "none"      // what binds a token to a certificate is not looked at
	BindingIfPresent Binding = "ifPresent" // a bound token must come with its certificate
	BindingRequired  Binding = "required"  // and every token must be bound
)

// An Issuer is one whose tokens are taken. Not to be changed.
type Issuer struct {
	Name        string // for logs and metrics
	URL         string // the iss claim, byte for byte; may hold {tenantid}
	Audiences   []string
	Scopes      []string // each of them, of a token for a user or a client
	Roles       []string // each of them, of a token for an application alone (idtyp "app")
	Binding     Binding
	PoP         bool // takes the scheme MTLS_POP
	Skew        time.Duration
	Mappings    []Mapping
	TenantClaim string // names the tenant, where no mapping does
	Keys        *keyset.Set
}

// A Mapping gives a tenant the tokens that have all these claims.
type Mapping struct {
	Tenant string
	Claims map[string]string
}

// accept looks at what the signature vouches for.
func (s *source) accept(c *claims) (*Token, *RefusedError) {
	if !slices.ContainsFunc(c.audience, func(a string) bool { return slices.Contains(s.Audiences, a) }) {
		return nil, refuse(Audience, "%.200q", c.audience)
	}
	if refused := s.authorized(c); refused != nil {
		return nil, refused
	}
	t := &Token{Issuer: s.Issuer, Subject: c.subject, Client: c.client, Tenant: s.tenant(c), Binding: c.binding, keys: s.keys,
		NotAfter: c.expires.Add(s.Skew)}
	if !c.notBefore.IsZero() {
		t.NotBefore = c.notBefore.Add(-s.Skew)
	}
	return t, nil
}

// authorized looks for scopes in a user's or a client's token and for roles in an
// application's: each in its place, for a user's token may carry roles, too, that
// say nothing of what the client may do. idtyp tells them apart.
func (s *source) authorized(c *claims) *RefusedError {
	need, have, what := s.Scopes, c.scopes, "scope"
	if c.kind == "app" {
		need, have, what = s.Roles, c.roles, "role"
		if len(c.scopes) > 0 {
			return refuse(Scope, "a token of an application with scopes")
		}
	}
	if len(need) == 0 && len(s.Scopes)+len(s.Roles) > 0 {
		return refuse(Scope, "%s takes no token with idtyp %.20q: no %ss are configured", s.Name, c.kind, what)
	}
	for _, n := range need {
		if !slices.Contains(have, n) {
			return refuse(Scope, "no %s %q among %.200q", what, n, have)
		}
	}
	return nil
}

// tenant is the one whose mapping the claims fit, or that they name themselves;
// nobody's where two tenants' fit.
func (s *source) tenant(c *claims) string {
	found := ""
	for _, m := range s.Mappings {
		switch {
		case !m.fits(c):
		case found != "" && found != m.Tenant:
			return ""
		default:
			found = m.Tenant
		}
	}
	if found == "" && s.TenantClaim != "" {
		found, _ = c.text(s.TenantClaim)
	}
	return found
}

func (m *Mapping) fits(c *claims) bool {
	for name, want := range m.Claims {
		if got, ok := c.text(name); !ok || got != want {
			return false
		}
	}
	return len(m.Claims) > 0
}

// A Confirmation is what a token is bound to (RFC 7800; RFC 8705, 3.1).
type Confirmation struct {
	Thumbprint  [sha256.Size]byte // of a certificate's DER, where Certificate
	Certificate bool
	Other       bool // a key that cannot be looked for here, such as DPoP's
}

// Matches reports whether it is this certificate that the token is bound to.
func (c *Confirmation) Matches(fingerprint *[sha256.Size]byte) bool {
	return c.Certificate && subtle.ConstantTimeCompare(c.Thumbprint[:], fingerprint[:]) == 1
}

// isGUID: Microsoft's ids are compared as they stand, lower-case.
func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !strings.ContainsRune("0123456789abcdef", rune(c)) {
			return false
		}
	}
	return true
}
