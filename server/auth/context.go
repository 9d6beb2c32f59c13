package auth

import (
	"context"

	"github.com/sangate/sangate/server/tool"
)

// DecisionKey is what a context has its decision by; see [DecisionFrom].
type DecisionKey struct{}

// WithDecision returns a context that carries the decision of the request.
func WithDecision(ctx context.Context, d *Decision) context.Context {
	return context.WithValue(ctx, DecisionKey{}, d)
}

// DecisionFrom returns the decision of the request. Handlers run behind the
// gate only, so a context without one is a mistake of ours and panics.
func DecisionFrom(ctx context.Context) *Decision { return ctx.Value(DecisionKey{}).(*Decision) }

// Caller describes the principal to a tool.
func (d *Decision) Caller() tool.Caller {
	return tool.Caller{
		Tenant:   d.Principal.TenantID,
		Identity: d.Principal.Name(),
		Serial:   d.Principal.Identity.Serial,
		NotAfter: d.Principal.NotAfter,
		Factors:  d.Factors(),
		Vars:     d.Tenant.Vars,
	}
}
