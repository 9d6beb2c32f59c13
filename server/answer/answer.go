// Package answer writes what leaves the gate: JSON, with a request id, and one
// body for every error. It tells the peer a code and a general sentence, never
// the reason; what the operator needs goes to log and metric.
package answer

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/tenant"
	"github.com/sangate/sangate/server/tool"
)

// An Error is an answer that says no (contract, section 2).
type Error struct {
	Status     int
	Code       string
	Message    string
	Details    any           // of invalid_arguments: one entry for each problem
	RetryAfter time.Duration // of 429 and 503
	Close      bool          // end the connection after this answer
	TokenSent  bool          // WWW-Authenticate then says what was wrong with it
	Scope      string        // what a token needs, for WWW-Authenticate
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errors that more than one handler answers with.
var (
	NotFound         = Error{Status: http.StatusNotFound, Code: "not_found", Message: "No such path or tool."}
	MethodNotAllowed = Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "This path does not take that method."}
	TooLarge         = Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "The body is larger than the gate takes."}
	UnsupportedType  = Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "Send application/json, not encoded."}
	Forbidden        = Error{Status: http.StatusForbidden, Code: "forbidden", Message: "Not allowed."}
	Timeout          = Error{Status: http.StatusGatewayTimeout, Code: "timeout", Message: "The tool took too long."}
	Internal         = Error{Status: http.StatusInternalServerError, Code: "internal", Message: "The gate failed. The request id leads to the reason in its log."}
)

// BadRequest is 400 with a sentence of its own.
func BadRequest(message string) Error {
	return Error{Status: http.StatusBadRequest, Code: "bad_request", Message: message}
}

// Upstream is what the peer is told of what failed behind a tool.
func Upstream(e *tool.UpstreamError) Error {
	out := Error{Status: http.StatusBadGateway, Code: e.Kind, Message: e.Message()}
	switch e.Kind {
	case tool.UpstreamUnavailable:
		out.Status, out.RetryAfter = http.StatusServiceUnavailable, 5*time.Second
	case tool.UpstreamTimeout:
		out.Status = http.StatusGatewayTimeout
	}
	return out
}

// Refusal is what the peer is told of a decision that refused it.
func Refusal(d *auth.Decision, tokenSent bool) Error {
	reason := d.Reason
	if reason == auth.TokenMalformed && d.JWT {
		reason = auth.TokenUnknown // the header was well-formed, what it carried was not
	}
	e := refusal(reason)
	if d.Via != nil {
		e.Close = false // the connection is the proxy's, and others' requests come on it
	}
	e.TokenSent, e.Scope = tokenSent, d.Snapshot.Tokens.Scopes()
	if d.RetryAfter > 0 {
		e.RetryAfter = d.RetryAfter
	}
	return e
}

func refusal(r auth.Reason) Error {
	switch r {
	case pki.NoCertificate, pki.Untrusted, pki.Expired, pki.NotYetValid, pki.WrongUsage, pki.Revoked:
		return Error{Status: http.StatusUnauthorized, Code: "unauthorized", Message: "The client certificate is not accepted."}
	case pki.BadCertificate: // of a proxy, or since another configuration
		return Error{Status: http.StatusUnauthorized, Code: "unauthorized", Message: "The client certificate is not accepted.", Close: true}
	case pki.CertExpired, pki.CertRevoked, pki.RevocationUnknown, pki.CertUntrusted:
		return Error{Status: http.StatusUnauthorized, Code: "unauthorized", Message: "The client certificate is no longer accepted.", Close: true}
	case auth.TokenMissing:
		return Error{Status: http.StatusUnauthorized, Code: "unauthorized", Message: "Missing or invalid Authorization header."}
	case auth.TokenMalformed, auth.HeaderMalformed:
		return BadRequest("Malformed Authorization or X-Octopus-Tenant-Id header.")
	case auth.TokenScope:
		return Error{Status: http.StatusForbidden, Code: "insufficient_scope", Message: "The token lacks the scope."}
	case auth.JWKSUnavailable:
		return Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "Tokens cannot be checked now.", RetryAfter: 5 * time.Second}
	case auth.TokenUnknown, auth.TokenExpired, auth.TokenNotYetValid, auth.TokenRevoked, auth.TokenAlgorithm,
		auth.TokenKeyUnknown, auth.TokenSignature, auth.TokenIssuer, auth.TokenAudience,
		auth.BindingMismatch, auth.BindingMissing:
		return Error{Status: http.StatusUnauthorized, Code: "unauthorized", Message: "Invalid token."}
	case auth.ToolDenied:
		return NotFound
	case auth.RateLimited, auth.LockedOut:
		return Error{Status: http.StatusTooManyRequests, Code: "rate_limited", Message: "Too many requests.", RetryAfter: time.Second}
	case pki.SANInvalid, pki.SANMissing, tenant.Unmapped, tenant.Ambiguous, tenant.Disabled,
		auth.TenantMismatch, auth.HeaderMismatch, auth.SessionMismatch:
		return Forbidden
	}
	return Forbidden // a reason without a line above is refused all the same
}

// RequestIDKey is what a context has the id of its request by; see [RequestID].
type RequestIDKey struct{}

// RequestID returns the id of the request, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(RequestIDKey{}).(string)
	return id
}

// Header values that every answer shares; net/http does not change them.
var (
	typeJSON = []string{"application/json"}
	noStore  = []string{"no-store"}
)

// measured is up to what length net/http tells the length of a body by itself.
const measured = 2048

// JSON writes a body that is already JSON.
func JSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = typeJSON
	if len(body) >= measured {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if len(h["Cache-Control"]) == 0 {
		h["Cache-Control"] = noStore
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the peer may be gone; nobody is left to tell
}

// Fail writes an error answer, and notes it.
func Fail(w http.ResponseWriter, r *http.Request, e Error) {
	Note(r.Context(), e.Code, e.Message)
	h := w.Header()
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		h.Set("WWW-Authenticate", challenge(r, e))
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	if e.Close {
		h.Set("Connection", "close")
	}
	body, err := jsonv2.Marshal(struct {
		Error     string `json:"error"`
		Message   string `json:"message"`
		RequestID string `json:"requestId"`
		Details   any    `json:"details,omitempty"`
	}{e.Code, e.Message, RequestID(r.Context()), e.Details})
	if err != nil {
		body = []byte(`{"error":"internal","message":"The gate failed.","requestId":""}`)
	}
	JSON(w, e.Status, body)
}

// challenge is the WWW-Authenticate value (RFC 6750, section 3; RFC 9728,
// section 5.1). The host is the client's own word, so it is used only where it
// is of plain characters.
func challenge(r *http.Request, e Error) string {
	var parts []string
	if host := r.Host; plainHost(host) {
		resource := ""
		if r.URL.Path == "/mcp" {
			resource = r.URL.Path
		}
		parts = append(parts, ` resource_metadata="https://`+host+MetadataPath+resource+`"`)
	}
	if e.Scope != "" {
		parts = append(parts, ` scope="`+e.Scope+`"`)
	}
	switch {
	case !e.TokenSent:
	case e.Code == "insufficient_scope":
		parts = append(parts, ` error="insufficient_scope"`)
	default:
		parts = append(parts, ` error="invalid_token"`)
	}
	return "Bearer" + strings.Join(parts, ",")
}

// MetadataPath is where the protected resource metadata stands (RFC 9728, 3).
const MetadataPath = "/.well-known/oauth-protected-resource"

func plainHost(host string) bool {
	if host == "" || len(host) > 255 {
		return false
	}
	for i := range len(host) {
		c := host[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == ':' || c == '[' || c == ']') {
			return false
		}
	}
	return true
}
