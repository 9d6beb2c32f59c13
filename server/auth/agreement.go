package auth

import (
	"net/http"

	"github.com/sangate/sangate/server/jwt"
)

// agreement: the token is the certificate's tenant's, so is the header where one
// was sent, and what the token is bound to is this certificate.
func agreement(d *Decision, r *Request) Reason {
	if reason := header(d, r); reason != "" {
		return reason
	}
	return binding(d, r)
}

// header: where sent, it names the same tenant once.
func header(d *Decision, r *Request) Reason {
	if r.TenantAlias || len(r.TenantHeader) > 1 {
		return HeaderMalformed
	}
	if len(r.TenantHeader) == 0 {
		return ""
	}
	switch got := r.TenantHeader[0]; {
	case !plainHeader(got):
		return HeaderMalformed
	case got != d.Principal.TenantID:
		return HeaderMismatch
	}
	return ""
}

// binding: RFC 8705, section 3. A token that is bound to something else is never
// taken, whatever the issuer's mode. A key may be pinned to certificates.
func binding(d *Decision, r *Request) Reason {
	if d.key != nil && !d.key.Fits(r.Peer.Identity) {
		return BindingMismatch
	}
	t := d.Principal.Token
	if t == nil {
		return ""
	}
	mode := t.Issuer.Binding
	if d.pop {
		mode = jwt.BindingRequired
	}
	switch c := &t.Binding; {
	case c.Other:
		return BindingMismatch
	case mode == jwt.BindingNone:
		return ""
	case c.Certificate && !c.Matches(&r.Peer.Identity.Fingerprint):
		return BindingMismatch
	case !c.Certificate && mode == jwt.BindingRequired:
		return BindingMissing
	}
	return ""
}

// plainHeader accepts what could be a tenant id and no list of them.
func plainHeader(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		if !isTokenByte(s[i]) && s[i] != '.' {
			return false
		}
	}
	return true
}

// hasAlias finds X_Octopus_Tenant_Id and its likes, which a proxy that maps '_'
// to '-' would have turned into the header.
func hasAlias(h http.Header) bool {
	for name := range h {
		if len(name) == len(tenantHeader) && name != tenantHeader && sameButSeparators(name) {
			return true
		}
	}
	return false
}

func sameButSeparators(name string) bool {
	for i := range len(name) {
		c, want := name[i], tenantHeader[i]
		switch {
		case want == '-':
			if c != '-' && c != '_' && c != '.' {
				return false
			}
		case c|0x20 != want|0x20:
			return false
		}
	}
	return true
}
