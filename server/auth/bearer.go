package auth

import (
	"strings"
	"time"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/tenant"
)

// bearer: the second factor, where the tenant wants one.
func bearer(d *Decision, r *Request, now time.Time) Reason {
	if d.Tenant.SecondFactor == tenant.None {
		return ""
	}
	token, pop, reason := parseBearer(r.Authorization, d.Snapshot.Tokens.TakesPoP())
	if reason != "" {
		if d.Tenant.SecondFactor == tenant.Optional && len(r.Authorization) == 0 {
			return ""
		}
		return reason
	}
	// Tokens of issuers are for tenants; who administers has keys.
	if !r.Admin && d.Snapshot.Tokens.Looks(token) {
		return d.byToken(token, pop, now)
	}
	if pop || !plainToken(token) {
		return TokenMalformed // no key proves possession of a certificate
	}
	return d.byKey(token, now)
}

func (d *Decision) byToken(text string, pop bool, now time.Time) Reason {
	d.JWT, d.pop = true, pop
	t, refused := d.Snapshot.Tokens.Verify(text, now)
	if refused != nil && !plainToken(text) {
		d.JWT = false // the header is malformed, not what it carries
		return TokenMalformed
	}
	if refused != nil {
		d.Detail, d.Missing = refused.Detail, refused.Missing
		return refused.Reason
	}
	d.Principal.Token = t
	if pop && !t.Issuer.PoP {
		return TokenMissing // to this issuer's tokens, the scheme means nothing
	}
	if t.Tenant != d.Principal.TenantID {
		return TenantMismatch
	}
	return ""
}

func (d *Decision) byKey(key string, now time.Time) Reason {
	entry, verdict := d.Snapshot.Keys.Lookup(key, now)
	switch verdict {
	case apikey.OK:
	case apikey.Expired:
		return TokenExpired
	case apikey.NotYetValid:
		return TokenNotYetValid
	case apikey.Revoked:
		return TokenRevoked
	default:
		return TokenUnknown
	}
	d.Principal.KeyID, d.Principal.KeyOf, d.key = entry.ID, entry.Tenant, entry
	if entry.Tenant != d.Principal.TenantID {
		return TenantMismatch
	}
	return ""
}

// MaxToken bounds a Bearer token, in bytes.
const MaxToken = 8 << 10

// The schemes of the Authorization header. MTLS_POP is what Microsoft Entra's
// clients send a certificate-bound token by.
const (
	bearerScheme = "Bearer"
	popScheme    = "MTLS_POP"
)

// parseBearer reads the values of the Authorization header (RFC 6750, 2.1). It
// is stricter than HTTP: one header, the scheme (without regard to case), one
// space, and a token. Another scheme is no token at all. What the token is made of
// is left to whoever takes it.
func parseBearer(values []string, takesPoP bool) (token string, pop bool, reason Reason) {
	switch len(values) {
	case 0:
		return "", false, TokenMissing
	case 1:
	default:
		return "", false, TokenMalformed
	}
	scheme, token, found := strings.Cut(values[0], " ")
	pop = takesPoP && strings.EqualFold(scheme, popScheme)
	if !pop && !strings.EqualFold(scheme, bearerScheme) {
		if n := len(bearerScheme); len(scheme) > n && strings.EqualFold(scheme[:n], bearerScheme) && !isTokenByte(scheme[n]) {
			return "", false, TokenMalformed // "Bearer\tx"
		}
		return "", false, TokenMissing
	}
	if !found || token == "" {
		return "", false, TokenMissing
	}
	if len(token) > MaxToken {
		return "", false, TokenMalformed
	}
	return token, pop, ""
}

// plainToken: base64url characters and dots.
func plainToken(token string) bool {
	for i := range len(token) {
		if !isTokenByte(token[i]) && token[i] != '.' {
			return false
		}
	}
	return true
}

func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
