package tool

import (
	"context"
	"errors"
	"time"

	"github.com/sangate/sangate/pki/inspect"
)

// A GateCertificate describes one certificate the gate holds.
type GateCertificate struct {
	Role        string    `json:"role" jsonschema:"server or client_ca"`
	Names       []string  `json:"names" jsonschema:"the names it is good for, or its subject"`
	NotBefore   time.Time `json:"notBefore"`
	NotAfter    time.Time `json:"notAfter"`
	NextRenewal time.Time `json:"nextRenewal,omitzero" jsonschema:"when the gate means to renew it; absent where others do"`
}

// whoami is contract section 1.
type whoami struct {
	Tenant   string    `json:"tenant" jsonschema:"the tenant the call was admitted for"`
	Identity string    `json:"identity" jsonschema:"the name in the client certificate"`
	Serial   string    `json:"serial" jsonschema:"serial number of the client certificate, hexadecimal"`
	NotAfter time.Time `json:"notAfter" jsonschema:"when the client certificate expires"`
	Factors  []string  `json:"factors" jsonschema:"what was checked: certificate, api_key, jwt"`
}

type echo struct {
	Message string `json:"message" jsonschema:"what to say back"`
}

type pemInput struct {
	PEM string `json:"pem" jsonschema:"one or more certificates in PEM"`
}

type gateCertificates struct {
	Certificates []GateCertificate `json:"certificates"`
}

// BuiltinNames are the names of all there are.
var BuiltinNames = []string{"certificate_inspect", "echo", "gate_certificates", "whoami"}

// Builtins returns the tools every gate has. certificates tells of the gate's
// own; now is the clock.
func Builtins(certificates func() []GateCertificate, now func() time.Time) ([]*Tool, error) {
	who, err1 := New("whoami", "Tells which tenant and identity this call was admitted as, and what was checked.",
		func(ctx context.Context, _ struct{}) (whoami, error) {
			c := CallerFrom(ctx)
			return whoami{Tenant: c.Tenant, Identity: c.Identity, Serial: c.Serial, NotAfter: c.NotAfter.UTC(), Factors: c.Factors}, nil
		})
	say, err2 := New("echo", "Returns the message it is given.",
		func(_ context.Context, in echo) (echo, error) { return in, nil })
	// What is given back is what was given: it need not be taken apart for that.
	say.Handler = func(_ context.Context, call *Call) (*Result, error) { return &Result{Structured: call.Arguments}, nil }
	look, err3 := New("certificate_inspect", "Reads PEM certificates: names, dates, key, usages, fingerprints, and what is wrong with them as a client certificate.",
		func(ctx context.Context, in pemInput) (inspect.Report, error) {
			report, err := inspect.PEM(ctx, []byte(in.PEM), now())
			if err != nil {
				return report, Errorf("%v", err)
			}
			return report, nil
		})
	own, err4 := New("gate_certificates", "Lists the gate's own certificates and the CAs it trusts for clients, with their dates.",
		func(context.Context, struct{}) (gateCertificates, error) {
			return gateCertificates{certificates()}, nil
		})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	tools := []*Tool{who, say, look, own}
	for _, t := range tools {
		t.Builtin, t.ReadOnly = true, true
	}
	return tools, nil
}
