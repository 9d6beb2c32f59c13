package auth

import (
	"net/http"
	"net/textproto"
	"regexp"
	"strings"
	"testing"
)

var (
	bearerForm = regexp.MustCompile(`(?is)^(bearer|mtls_pop) (.+)$`)
	tenantForm = regexp.MustCompile(`\A[A-Za-z0-9._-]{1,63}\z`)
	tokenForm  = regexp.MustCompile(`\A[A-Za-z0-9._-]+\z`)
)

// FuzzAuthorization checks that a token comes from exactly one header with a known
// scheme and one space, byte for byte what follows it, and is bounded.
//
// Holds: client/authorization-header
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{"Bearer x", "bEaReR x", "Bearer  x", "Bearer\tx", "Bearer", "Bearer ", "Basic eDp5", "MTLS_POP a.b.c", "Bearer a, Bearer b", "Bearer x\r\n y",
		"Bearerx", "Bearer\x00x", "\u212aearer x", "Bearer " + strings.Repeat("a", MaxToken+1), "BEARER \u2028", "mtls-pop x"} {
		f.Add(s, "", false, true)
		f.Add(s, s, true, false)
	}
	f.Fuzz(func(t *testing.T, first, second string, twice, takesPoP bool) {
		values := []string{first}
		if twice {
			values = append(values, second)
		}
		token, pop, reason := parseBearer(values, takesPoP)
		if reason != "" {
			if token != "" {
				t.Errorf("%q is refused and returns %q", values, token)
			}
			return
		}
		parts := bearerForm.FindStringSubmatch(first)
		if twice || parts == nil || parts[2] != token || len(token) > MaxToken {
			t.Fatalf("%q gives %q", values, token)
		}
		if wantPoP := strings.EqualFold(parts[1], "mtls_pop"); pop != wantPoP || pop && !takesPoP {
			t.Errorf("%q: possession %v, want %v (accepted %v)", first, pop, wantPoP, takesPoP)
		}
		if plainToken(token) != tokenForm.MatchString(token) {
			t.Errorf("plainToken(%q) = %v", token, plainToken(token))
		}
	})
}

// FuzzTenantHeader checks that a tenant header passes only if it is one plain id
// that equals the certificate's tenant, and that no other spelling of its name
// goes unnoticed.
//
// Holds: client/tenant-header
func FuzzTenantHeader(f *testing.F) {
	for _, s := range [][2]string{{"X-Octopus-Tenant-Id", "acme"}, {"X_Octopus_Tenant_Id", "acme"}, {"x-octopus_tenant.id", "globex"}, {"X-Octopus-Tenant-Id", "acme, globex"},
		{"X-Octopus-Tenant-Id", "acme\x00"}, {"X-Octopus-Tenant-Id", "ACME"}, {"X-Octopus-Tenant-Id", " acme"}, {"X-Octopus-Tenant-Id", ""}, {"X-Octopus-Tenant-I\xe4", "a"}} {
		f.Add(s[0], s[1], "acme", false)
		f.Add(s[0], s[1], s[1], true)
	}
	f.Fuzz(func(t *testing.T, name, value, tenant string, twice bool) {
		h := http.Header{textproto.CanonicalMIMEHeaderKey(name): {value}}
		if twice {
			h.Add(name, value)
		}
		d := &Decision{Principal: Principal{TenantID: tenant}}
		r := &Request{TenantHeader: h[tenantHeader], TenantAlias: hasAlias(h)}
		reason := header(d, r)
		folded := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
		if folded != strings.ToLower(tenantHeader) {
			return
		}
		if want := !twice && textproto.CanonicalMIMEHeaderKey(name) == tenantHeader && tenantForm.MatchString(value) && value == tenant; (reason == "") != want {
			t.Errorf("%q: %q for tenant %q: %q, passes want %v", name, h, tenant, reason, want)
		}
	})
}
