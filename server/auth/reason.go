package auth

import (
	"slices"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/jwt"
	"github.com/sangate/sangate/server/tenant"
)

// A Reason is one of the closed set of contract section 3. The sets of the
// handshake and the certificate are pki's, those of the mapping tenant's.
type Reason = pki.Reason

// Reasons of the stages after the certificate.
const (
	TokenMissing     Reason = "token_missing"
	TokenMalformed          = jwt.Malformed
	TokenUnknown     Reason = "token_unknown"
	TokenExpired            = jwt.Expired
	TokenNotYetValid        = jwt.NotYetValid
	TokenRevoked     Reason = "token_revoked"
	TokenAlgorithm          = jwt.Algorithm
	TokenKeyUnknown         = jwt.KeyUnknown
	TokenSignature          = jwt.Signature
	TokenIssuer             = jwt.IssuerWrong
	TokenAudience           = jwt.Audience
	TokenScope              = jwt.Scope
	JWKSUnavailable         = jwt.Unavailable

	TenantMismatch  Reason = "tenant_mismatch"
	HeaderMismatch  Reason = "header_mismatch"
	HeaderMalformed Reason = "header_malformed"
	BindingMismatch Reason = "binding_mismatch"
	BindingMissing  Reason = "binding_missing"
	SessionMismatch Reason = "session_mismatch"

	ToolDenied  Reason = "tool_denied"
	RateLimited Reason = "rate_limited"
	LockedOut   Reason = "locked_out"

	OK Reason = "ok"
)

// A Stage is the step of the decision a reason belongs to.
type Stage string

// The stages, in the order they are gone through.
const (
	Certificate Stage = "certificate"
	Bearer      Stage = "bearer"
	Agreement   Stage = "agreement"
	Policy      Stage = "policy"
	Passed      Stage = "ok"
)

var byStage = []struct {
	Stage   Stage
	Reasons []Reason
}{
	{Certificate, []Reason{pki.CertExpired, pki.CertRevoked, pki.RevocationUnknown, pki.CertUntrusted, pki.SANInvalid, pki.SANMissing,
		tenant.Unmapped, tenant.Ambiguous, tenant.Disabled,
		// Of a certificate that a proxy carries, what a handshake would say.
		pki.NoCertificate, pki.BadCertificate, pki.Untrusted, pki.Expired, pki.NotYetValid, pki.WrongUsage, pki.Revoked}},
	{Bearer, []Reason{TokenMissing, TokenMalformed, TokenUnknown, TokenExpired, TokenNotYetValid, TokenRevoked,
		TokenAlgorithm, TokenKeyUnknown, TokenSignature, TokenIssuer, TokenAudience, TokenScope, JWKSUnavailable}},
	{Agreement, []Reason{TenantMismatch, HeaderMismatch, HeaderMalformed, BindingMismatch, BindingMissing, SessionMismatch}},
	{Policy, []Reason{ToolDenied, RateLimited, LockedOut}},
	{Passed, []Reason{OK}},
}

// Reasons calls yield for every reason a request can be decided with, by stage.
func Reasons(yield func(Stage, Reason) bool) {
	for _, s := range byStage {
		for _, r := range s.Reasons {
			if !yield(s.Stage, r) {
				return
			}
		}
	}
}

// Failure reports whether the decision counts against the identity: it sent what
// was wrong, or another's. Nothing, or what has ended, is no attempt.
func (d *Decision) Failure() bool {
	switch d.Reason {
	case TokenMissing, TokenExpired, TokenNotYetValid, JWKSUnavailable:
		return false
	}
	return d.Stage == Bearer || d.Stage == Agreement
}

// stageOf returns the stage a reason belongs to.
func stageOf(r Reason) Stage {
	for _, s := range byStage {
		if slices.Contains(s.Reasons, r) {
			return s.Stage
		}
	}
	return Passed
}
