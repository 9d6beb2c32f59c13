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
	if i := strings.IndexFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f }); i >= 0 {
		e.tell("character %d is %q; it should be one line without \"Bearer\"", i+1, text[i])
		return string(auth.TokenMalformed)
	}
	switch id, isKey := apikey.Parse(text); {
	case isKey:
		e.tell("API key %s", id)
		return ""
	case strings.HasPrefix(text, "sgk_"):
		e.tell("an API key of %d characters whose checksum is wrong: mistyped or cut off", len(text))
		return string(auth.TokenUnknown)
	case strings.Count(text, ".") != 2:
		e.tell("%d characters, no API key and no JWT", len(text))
		return ""
	}
	return e.jwt(text)
}

// jwt compares what a token says of itself with the clock, the gate's metadata and
// the client's certificate.
func (e *examination) jwt(text string) string {
	says, refused := jwt.Unverified(text)
	if refused != nil {
		e.tell("%s", refused.Detail)
		return string(refused.Reason)
	}
	now := e.Now()
	e.tell("JWT of %s for %s, to %s", says.Issuer, strings.Join(says.Audience, ", "), date(says.Expires))
	fingerprint := sha256.Sum256(e.chain[0].Raw)
	switch {
	case now.After(says.Expires.Add(maxSkew)):
		e.tell("it ended at %s", date(says.Expires))
		return string(auth.TokenExpired)
	case now.Before(says.NotBefore.Add(-maxSkew)):
		e.tell("it begins at %s", date(says.NotBefore))
		return string(auth.TokenNotYetValid)
	case !slices.Contains(e.metadata.Servers, says.Issuer):
		e.tell("the gate takes tokens of %s", orNobody(e.metadata.Servers))
		return string(auth.TokenIssuer)
	case len(e.metadata.Audiences) > 0 && !slices.ContainsFunc(says.Audience, func(aud string) bool { return slices.Contains(e.metadata.Audiences, aud) }):
		e.tell("the gate takes tokens for %s", strings.Join(e.metadata.Audiences, ", "))
		return string(auth.TokenAudience)
	case says.Binding.Other, says.Binding.Certificate && !says.Binding.Matches(&fingerprint):
		e.tell("it is bound to another certificate, or another kind of key, than %s", e.Files.Cert)
		return string(auth.BindingMismatch)
	}
	return ""
}

func orNobody(servers []string) string {
	if len(servers) == 0 {
		return "nobody: API keys only"
	}
	return strings.Join(servers, ", ")
}
