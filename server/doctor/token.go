package doctor

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/jwt"
)

// token looks at what can be seen of it without the gate.
func (e *examination) token(context.Context) string {
	if e.Token == nil {
		e.tell("none given")
		return ""
	}
	text := *e.Token
	if text == "" {
		e.tell("it is empty")
		return string(auth.TokenMissing)
	}
	if len(text) > auth.MaxToken {
		e.tell("it has %d bytes; a gate takes at most %d", len(text), auth.MaxToken)
		return string(auth.TokenMalformed)
	}
	if i := strings.IndexFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f }); i >= 0 {
		e.tell("character %d is %q; it should be one line without \"Bearer\"", i+1, text[i])
		return string(auth.TokenMalformed)
	}
	switch id, isKey := apikey.Parse(text); {
	case isKey:
		e.keyID = id
		e.tell("API key %s", id)
	case strings.HasPrefix(text, "sgk_"):
		e.tell("an API key of %d characters whose checksum is wrong: mistyped or cut off", len(text))
		return string(auth.TokenUnknown)
	case strings.Count(text, ".") != 2:
		e.tell("%d characters, no API key and no JWT", len(text))
	case e.metadata != nil && len(e.metadata.Servers) == 0:
		e.tell("a JWT, it seems; the gate takes tokens of nobody: API keys only")
	default:
		return e.jwt(text)
	}
	return ""
}

// jwt compares what a token says of itself with the clock, the gate's metadata and
// the client's certificate. Near its end it is the gate that decides.
func (e *examination) jwt(text string) string {
	says, refused := jwt.Unverified(text)
	if refused != nil {
		e.tell("%s", refused.Detail)
		return string(refused.Reason)
	}
	e.claim = says
	now := e.Now()
	e.tell("JWT of %s for %s, to %s", says.Issuer, strings.Join(says.Audience, ", "), date(says.Expires))
	switch {
	case now.After(says.Expires.Add(maxLeeway)):
		e.tell("it ended at %s", date(says.Expires))
		return string(auth.TokenExpired)
	case now.Before(says.NotBefore.Add(-maxLeeway)):
		e.tell("it begins at %s", date(says.NotBefore))
		return string(auth.TokenNotYetValid)
	case now.After(says.Expires), now.Before(says.NotBefore):
		e.tell("its time is over, or has not come; the gate may allow for clocks")
	}
	if finding := e.taken(says); finding != "" {
		return finding
	}
	fingerprint := sha256.Sum256(e.chain[0].Raw)
	if says.Binding.Other || says.Binding.Certificate && !says.Binding.Matches(&fingerprint) {
		e.tell("it is bound to another certificate, or another kind of key, than %s", e.Files.Cert)
		return string(auth.BindingMismatch)
	}
	return ""
}

// taken compares issuer and audience with those that the gate takes.
func (e *examination) taken(says *jwt.Claim) string {
	switch known := e.metadata; {
	case known == nil:
		e.tell("its issuer and audience are not compared")
	case !slices.Contains(known.Servers, says.Issuer):
		e.tell("the gate takes tokens of %s", strings.Join(known.Servers, ", "))
		return string(auth.TokenIssuer)
	case len(known.Audiences) > 0 && !slices.ContainsFunc(says.Audience, func(aud string) bool { return slices.Contains(known.Audiences, aud) }):
		e.tell("the gate takes tokens for %s", strings.Join(known.Audiences, ", "))
		return string(auth.TokenAudience)
	}
	return ""
}
