package doctor

import (
	"context"
	"net/http"
	"strings"
	"unicode"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tenant"
)

// request asks for the tools, as the client would, and where that is refused with
// less, to learn by what.
func (e *examination) request(ctx context.Context) string {
	if e.TenantHeader != nil {
		if i := strings.IndexFunc(*e.TenantHeader, unicode.IsControl); i >= 0 {
			e.tell("X-Octopus-Tenant-Id: character %d is %q, which no header may have", i+1, (*e.TenantHeader)[i])
			return string(auth.HeaderMalformed)
		}
	}
	res, err := e.ask(ctx, "/tools", e.Token, e.TenantHeader)
	if err != nil {
		return e.lost(err)
	}
	if res.status == http.StatusOK {
		return e.tools(res)
	}
	e.tell("GET /tools: %d %s %q (request id %q)", res.status, res.code, res.text, res.header.Get("X-Request-Id"))
	if e.TenantHeader != nil && (res.status == http.StatusForbidden || res.status == http.StatusBadRequest) &&
		e.statusOf(ctx, e.Token) == http.StatusOK {
		e.tell("without X-Octopus-Tenant-Id it is let in")
		if res.status == http.StatusBadRequest {
			return string(auth.HeaderMalformed)
		}
		return string(auth.HeaderMismatch)
	}
	switch res.status {
	case http.StatusBadRequest:
		return string(auth.TokenMalformed)
	case http.StatusUnauthorized:
		return e.unauthorized(res)
	case http.StatusForbidden:
		return e.forbidden(ctx, res)
	case http.StatusTooManyRequests:
		return e.tooMany(ctx, res)
	case http.StatusServiceUnavailable:
		return string(auth.JWKSUnavailable)
	}
	return NotAGate
}

// statusOf is what comes of the same without the tenant header; 0: nothing.
func (e *examination) statusOf(ctx context.Context, token *string) int {
	res, err := e.ask(ctx, "/tools", token, nil)
	if err != nil {
		e.tell("asked again with less: %v", err)
		return 0
	}
	return res.status
}

// unauthorized: to a token that is not taken the gate says the same whatever it has
// against it, so what it may be is told beside what is nearest.
func (e *examination) unauthorized(res *reply) string {
	switch {
	case strings.EqualFold(res.header.Get("Connection"), "close") && strings.Contains(res.text, "certificate"):
		return string(pki.CertRevoked)
	case e.Token == nil:
		return string(auth.TokenMissing)
	case e.claim != nil:
		return e.jwtRefused()
	}
	whose := "each key"
	if e.keyID != "" {
		whose = e.keyID
	}
	e.tell("unknown, or not (%s, %s), or no longer good (%s), or pinned to another certificate (%s): a key looks alike from here; on the gate's side `sangate token list` has what became of %s",
		auth.TokenNotYetValid, auth.TokenExpired, auth.TokenRevoked, auth.BindingMismatch, whose)
	return string(auth.TokenUnknown)
}

func (e *examination) jwtRefused() string {
	switch now := e.Now(); {
	case now.After(e.claim.Expires):
		e.tell("it ended at %s", date(e.claim.Expires))
		return string(auth.TokenExpired)
	case now.Before(e.claim.NotBefore):
		e.tell("it begins at %s", date(e.claim.NotBefore))
		return string(auth.TokenNotYetValid)
	}
	e.tell("what it says of itself is right, its signature is not; or its kid is not published (%s)", auth.TokenKeyUnknown)
	if !e.claim.Binding.Certificate {
		e.tell("or the gate requires a token that is bound to the certificate, and this is not (%s)", auth.BindingMissing)
	}
	return string(auth.TokenSignature)
}

func (e *examination) forbidden(ctx context.Context, res *reply) string {
	if res.code == "insufficient_scope" {
		e.tell("%s", res.header.Get("WWW-Authenticate"))
		return string(auth.TokenScope)
	}
	if e.Token != nil {
		switch status := e.statusOf(ctx, nil); status {
		case 0:
			return NoAnswer
		case http.StatusForbidden:
		case http.StatusOK:
			e.tell("with the certificate alone it is let in: the token is of another tenant")
			return string(auth.TenantMismatch)
		case http.StatusUnauthorized:
			e.tell("with the certificate alone it is asked for a token: the certificate has a tenant, and the token is of another")
			return string(auth.TenantMismatch)
		default:
			e.tell("with the certificate alone: status %d", status)
			return string(auth.TenantMismatch)
		}
	}
	e.tell("with the certificate alone it is refused as well: no tenant, or two, or one that is switched off")
	return string(tenant.Unmapped)
}

// tooMany: an identity that is locked out is not heard whatever it sends; a limit is
// looked at once the token is known to be good.
func (e *examination) tooMany(ctx context.Context, res *reply) string {
	e.tell("again after %q s", res.header.Get("Retry-After"))
	if e.Token != nil && e.statusOf(ctx, nil) == http.StatusTooManyRequests {
		e.tell("with the certificate alone it is not heard either: this identity sent too many wrong tokens; stop, wait for that long, then try once")
		return string(auth.LockedOut)
	}
	e.tell("or this identity sent too many wrong tokens (%s): stop, wait for that long, then try once", auth.LockedOut)
	return string(auth.RateLimited)
}
