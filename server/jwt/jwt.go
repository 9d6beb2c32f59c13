// Package jwt verifies access tokens that are JWTs (RFC 7519, RFC 9068, RFC 8725)
// against the issuers of the configuration.
//
// A [Verifier] is immutable but for its cache of tokens that were verified: other
// issuers or other keys are a new Verifier, so nothing verified by the old ones
// is believed. It does no I/O; where a key is missing it says whom to wait for.
//
// It reads a token strictly, and once: one alphabet, no name twice, names by their
// case, a key named by its id, no parameter that leads to a key of the sender's or
// that changes what was signed. Only asymmetric signatures are taken, and the key
// says by which algorithm.
package jwt

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/keyset"
)

// Why a token is refused (contract, section 3).
const (
	Malformed   pki.Reason = "token_malformed"
	Algorithm   pki.Reason = "token_algorithm"
	IssuerWrong pki.Reason = "token_issuer"
	KeyUnknown  pki.Reason = "token_key_unknown"
	Unavailable pki.Reason = "jwks_unavailable"
	Signature   pki.Reason = "token_signature"
	Expired     pki.Reason = "token_expired"
	NotYetValid pki.Reason = "token_not_yet_valid"
	Audience    pki.Reason = "token_audience"
	Scope       pki.Reason = "token_scope"
)

// A RefusedError says why a token is not taken. Detail is for the log.
type RefusedError struct {
	Reason  pki.Reason
	Detail  string
	Missing *Missing // where a key is, or all are
}

func (e *RefusedError) Error() string { return string(e.Reason) + ": " + e.Detail }

func refuse(reason pki.Reason, format string, args ...any) *RefusedError {
	return &RefusedError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// Missing is a key that may be fetched.
type Missing struct {
	set  *keyset.Set
	have *keyset.Keys
}

// Await waits until it was looked for, if it may be, or ctx ends; then the token
// is to be decided on again.
func (m *Missing) Await(ctx context.Context) { m.set.Await(ctx, m.have) }

// A Token is one that was verified. Not to be changed.
type Token struct {
	Issuer    *Issuer
	Subject   string // sub
	Client    string // azp, appid or client_id: who it was issued to
	Tenant    string // whose it is; "" where no one's, or several's
	NotBefore time.Time
	NotAfter  time.Time // both with the issuer's clock skew
	Binding   Confirmation

	keys *keyset.Keys
}

// LogValue tells whose it is, and nothing that could be used.
func (t *Token) LogValue() slog.Value {
	if t == nil {
		return slog.Value{}
	}
	return slog.GroupValue(slog.String("issuer", t.Issuer.Name), slog.String("sub", t.Subject), slog.String("client", t.Client))
}

// A Verifier verifies tokens of some issuers.
type Verifier struct {
	exact     map[string]*source
	templates []*source
	pop       bool
	scopes    string
	cache     cache
}

// A source is an issuer with its keys at the time the verifier was made.
type source struct {
	*Issuer
	keys *keyset.Keys
}

// NewVerifier makes one for the issuers, by the keys they have now.
func NewVerifier(issuers []*Issuer) *Verifier {
	v := &Verifier{exact: make(map[string]*source)}
	var scopes []string
	for _, i := range issuers {
		s := &source{i, i.Keys.Keys()}
		v.pop = v.pop || i.PoP
		scopes = append(scopes, i.Scopes...)
		if strings.Contains(i.URL, template) {
			v.templates = append(v.templates, s)
		} else {
			v.exact[i.URL] = s
		}
	}
	slices.Sort(scopes)
	v.scopes = strings.Join(slices.Compact(scopes), " ")
	return v
}

// Renew makes a verifier for the same issuers by the keys they have now.
func (v *Verifier) Renew() *Verifier { return NewVerifier(v.Issuers()) }

// Looks reports whether text has the form of a token for this verifier: three
// parts. Without issuers nothing has.
func (v *Verifier) Looks(text string) bool {
	return v != nil && len(v.exact)+len(v.templates) > 0 && strings.Count(text, ".") == 2
}

// Issuers returns those whose tokens are taken, in no order. Not to be changed.
func (v *Verifier) Issuers() []*Issuer {
	var out []*Issuer
	if v != nil {
		for _, s := range v.exact {
			out = append(out, s.Issuer)
		}
		for _, s := range v.templates {
			out = append(out, s.Issuer)
		}
	}
	return out
}

// Scopes returns all scopes that a token may need, with spaces between, for a
// challenge (RFC 6750, 3).
func (v *Verifier) Scopes() string {
	if v == nil {
		return ""
	}
	return v.scopes
}

// TakesPoP reports whether an issuer's tokens may come by the scheme MTLS_POP.
func (v *Verifier) TakesPoP() bool { return v != nil && v.pop }

// Verify returns the token that text is, or a [*RefusedError]. The second time it
// costs a hash and a look-up, and allocates nothing.
func (v *Verifier) Verify(text string, now time.Time) (*Token, *RefusedError) {
	sum := sha256.Sum256(unsafe.Slice(unsafe.StringData(text), len(text))) // read only; []byte(text) would be a copy
	t := v.cache.get(sum)
	if t == nil {
		var refused *RefusedError
		if t, refused = v.verify(text, now); refused != nil {
			return nil, refused
		}
		v.cache.put(sum, t, now)
	}
	switch {
	case !t.Issuer.Keys.Fresh(now):
		return nil, t.Issuer.stale(t.keys)
	case now.After(t.NotAfter):
		return nil, refuse(Expired, "at %s", t.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(t.NotBefore):
		return nil, refuse(NotYetValid, "before %s", t.NotBefore.UTC().Format(time.RFC3339))
	}
	return t, nil
}

// verify does all that does not depend on the time: whatever comes after the
// signature is believed from there on.
func (v *Verifier) verify(text string, now time.Time) (*Token, *RefusedError) {
	t, refused := open(text)
	if refused != nil {
		return nil, refused
	}
	claims, refused := parseClaims(t.payload)
	if refused != nil {
		return nil, refused
	}
	s := v.find(claims)
	if s == nil {
		return nil, refuse(IssuerWrong, "%.200q is not configured", claims.issuer)
	}
	if !s.Keys.Fresh(now) {
		return nil, s.stale(s.keys)
	}
	key := s.keys.Lookup(t.head.kid)
	switch {
	case key == nil:
		refused := refuse(KeyUnknown, "%s has no key %.100q", s.Name, t.head.kid)
		refused.Missing = &Missing{s.Keys, s.keys}
		return nil, refused
	case key.Issuer != "" && strings.ReplaceAll(key.Issuer, template, claims.tid) != claims.issuer:
		return nil, refuse(IssuerWrong, "key %.100q of %s signs for %.200q", t.head.kid, s.Name, key.Issuer)
	}
	if refused := signed(t, key); refused != nil {
		return nil, refused
	}
	return s.accept(claims)
}

// find returns the issuer that the claims name, byte for byte. One that stands
// for many (Microsoft's {tenantid}) is the one of the token's own tid.
func (v *Verifier) find(c *claims) *source {
	if s := v.exact[c.issuer]; s != nil {
		return s
	}
	for _, s := range v.templates {
		if isGUID(c.tid) && strings.ReplaceAll(s.URL, template, c.tid) == c.issuer {
			return s
		}
	}
	return nil
}

func (i *Issuer) stale(have *keyset.Keys) *RefusedError {
	refused := refuse(Unavailable, "the keys of %s never came", i.Name)
	if seen := i.Keys.Seen(); !seen.IsZero() {
		refused = refuse(Unavailable, "the keys of %s were last seen at %s", i.Name, seen.UTC().Format(time.RFC3339))
	}
	refused.Missing = &Missing{i.Keys, have}
	return refused
}

// encoding is base64url without padding and without bits that mean nothing
// (RFC 7515, 2; RFC 4648, 3.5).
var encoding = base64.RawURLEncoding.Strict()
