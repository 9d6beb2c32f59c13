// Package tenant maps the names in a client certificate to one tenant.
//
// A [Table] is compiled once from rules and never changes. A look-up walks the
// name's segments through a trie, so it does not grow with the rules. Two rules
// that could name two tenants for one name are refused when the table is made,
// and a captured id can never be that of a configured tenant: a capture cannot
// reach another rule's keys, credentials or policy.
package tenant

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/limit"
)

// A SecondFactor says whether a Bearer token is needed beside the certificate.
type SecondFactor string

// The second factor modes of the contract, section 4.
const (
	Required SecondFactor = "required"
	Optional SecondFactor = "optional" // absent passes, present must be right
	None     SecondFactor = "none"     // not looked at
)

// A Tenant is one entry of `tenants`: for a literal id one tenant, for a
// captured one ("{name}") as many as certificates name. Not to be changed once
// it is in a Table.
type Tenant struct {
	ID           string
	SANs         []string // rules, as configured
	Enabled      bool
	SecondFactor SecondFactor
	Tools        *Tools        // nil: the built-ins only
	Limits       *limit.Limits // nil: none
	Connections  int           // at most, in the place of its share of all; 0: that share
	Vars         map[string]string
}

// Tools is a tenant's tool policy: globs over tool names, deny wins.
type Tools struct {
	Allow []string // empty: the built-ins
	Deny  []string

	Condition *Condition // beside them; nil: none
}

var (
	validID   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	captureID = regexp.MustCompile(`^\{[a-z][A-Za-z0-9]{0,30}\}$`)
)

// Admins is the id that operators have in the place of a tenant's, in a [Table] of
// their own. No tenant can have it, configured or captured, so a key of one is
// never good for the other.
const Admins = "@admins"

// Captured reports whether the id stands for many tenants.
func (t *Tenant) Captured() bool { return strings.HasPrefix(t.ID, "{") }

// Allows reports whether the tenant may see and call a tool.
func (t *Tenant) Allows(tool string, builtin bool) bool {
	if t.Tools == nil {
		return builtin
	}
	if matchAny(t.Tools.Deny, tool) {
		return false
	}
	if len(t.Tools.Allow) == 0 {
		return builtin
	}
	return matchAny(t.Tools.Allow, tool)
}

func matchAny(globs []string, name string) bool {
	for _, glob := range globs {
		if ok, err := path.Match(glob, name); ok && err == nil {
			return true
		}
	}
	return false
}

// Check reports what is wrong with the entry itself; rules are checked by
// [NewTable].
func (t *Tenant) Check() error {
	var errs []error
	if !validID.MatchString(t.ID) && !captureID.MatchString(t.ID) && t.ID != Admins {
		errs = append(errs, fmt.Errorf("tenant id %q: use lower-case letters, digits, '.', '_' and '-', at most 63, or one capture such as \"{tenant}\"", t.ID))
	}
	switch t.SecondFactor {
	case Required, Optional, None:
	default:
		errs = append(errs, fmt.Errorf("tenant %s: secondFactor %q: use required, optional or none", t.ID, t.SecondFactor))
	}
	if t.Tools != nil {
		for _, glob := range append(t.Tools.Allow[:len(t.Tools.Allow):len(t.Tools.Allow)], t.Tools.Deny...) {
			if _, err := path.Match(glob, ""); err != nil {
				errs = append(errs, fmt.Errorf("tenant %s: tool pattern %q: %w", t.ID, glob, err))
			}
		}
	}
	return errors.Join(errs...)
}

// A Match is the tenant a certificate stands for.
type Match struct {
	Tenant *Tenant
	ID     string // the tenant's id: the configured or the captured one
	Rule   string // the SAN rule that named it

	// SAN is the index of the name that the rule matched. If rules of the tenant match
	// several, it is the one that [pki.Identity.Before] puts first. The tenant and this
	// name identify the holder to everything that is counted or kept for one client.
	SAN int
}

// Reasons of the look-up, beside those of pki.
const (
	Unmapped  pki.Reason = "san_unmapped"
	Ambiguous pki.Reason = "san_ambiguous"
	Disabled  pki.Reason = "tenant_disabled"
)

// Identify returns the one tenant the identity's names map to, or why there is
// none: [Unmapped], [Ambiguous], [Disabled], or pki.SANInvalid where a captured
// id is not fit to be one. Names without a rule are passed over. The result does not
// depend on the order of the names. Does not allocate.
func (t *Table) Identify(id *pki.Identity) (Match, pki.Reason) {
	var found Match
	for i := range id.SANs {
		m, ok := t.Lookup(id.SANs[i])
		switch {
		case !ok:
			continue
		case m.Tenant.Captured() && !plainID(m.ID):
			return m, pki.SANInvalid
		case m.Tenant.Captured() && t.byID[m.ID] != nil:
			return m, Ambiguous
		case found.Tenant != nil && (found.Tenant != m.Tenant || found.ID != m.ID):
			return m, Ambiguous
		}
		if found.Tenant == nil || id.Before(i, found.SAN) {
			found, found.SAN = m, i
		}
	}
	switch {
	case found.Tenant == nil:
		return found, Unmapped
	case !found.Tenant.Enabled:
		return found, Disabled
	}
	return found, ""
}

// plainID is validID without a regular expression, for the hot path.
func plainID(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || (c != '.' && c != '_' && c != '-')) {
			return false
		}
	}
	return true
}

// CanCapture reports whether an entry for many tenants could stand for this id.
func (t *Tenant) CanCapture(id string) bool { return t.Captured() && plainID(id) }
