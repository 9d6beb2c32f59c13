package stepca

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/smallstep/certificates/api"
	"go.step.sm/crypto/jose"
	"go.step.sm/crypto/x509util"
)

// maxSANs bounds the names of a request, as the gate bounds those of a peer.
const maxSANs = 64

// A Request says what certificate to ask for. With neither Subject nor SANs,
// both are taken from the token. Each SAN is of the type it looks like: an IP
// address, a URI, an e-mail address, else a DNS name.
type Request struct {
	Subject  string   // common name; the first SAN when empty
	SANs     []string // Subject when empty
	Key      KeyKind
	Signer   crypto.Signer // a key that is there already; nil: a new one of kind Key
	Lifetime time.Duration // zero: the provisioner's default
}

// An Enroller is a way to a first certificate: [OneTimeToken], [Password],
// [X5C] or [ACME].
type Enroller interface {
	Enrol(ctx context.Context, req Request) (*Pair, error)
}

// Enrol makes a key and trades a one-time token for a certificate of it. The
// token is spent by the attempt, even where no answer came back. Errors are a
// [*StatusError], [ErrVet], or those of the network and ctx.
func (c *Client) Enrol(ctx context.Context, token string, req Request) (*Pair, error) {
	req, err := req.complete(token)
	if err != nil {
		return nil, fmt.Errorf("stepca: enrol: %w", err)
	}
	key, err := req.signer()
	if err != nil {
		return nil, fmt.Errorf("stepca: enrol: key: %w", err)
	}
	csr, err := x509util.CreateCertificateRequest(req.Subject, req.SANs, key)
	if err != nil {
		return nil, fmt.Errorf("stepca: enrol %q: %w", req.Subject, err)
	}
	body := &api.SignRequest{CsrPEM: api.NewCertificateRequest(csr), OTT: token}
	if req.Lifetime > 0 {
		body.NotAfter.SetDuration(req.Lifetime)
	}
	var pair *Pair
	err = c.call(ctx, nil, "enrol", func(s session) error {
		resp, err := s.client.SignWithContext(s.ctx, body)
		if err != nil {
			return err
		}
		pair, err = wanted{key: key, names: requested(csr), roots: s.anchors, now: c.now()}.take(resp)
		return err
	})
	return pair, err
}

func (r Request) signer() (crypto.Signer, error) {
	if r.Signer != nil {
		return r.Signer, nil
	}
	return r.Key.generate()
}

// complete fills in what the token or the other field says.
func (r Request) complete(token string) (Request, error) {
	if r.Subject == "" && len(r.SANs) == 0 {
		jwt, err := jose.ParseSigned(token)
		if err != nil {
			return r, errors.New("the token is not a signed JWT; get a new one from the provisioner")
		}
		var claims struct {
			Subject string   `json:"sub"`
			SANs    []string `json:"sans"`
		}
		// The authority verifies the token; here it only says what to ask for.
		if err := jwt.UnsafeClaimsWithoutVerification(&claims); err != nil {
			return r, errors.New("the token's claims cannot be read; get a new one from the provisioner")
		}
		r.Subject, r.SANs = claims.Subject, claims.SANs
	}
	if len(r.SANs) == 0 && r.Subject != "" {
		r.SANs = []string{r.Subject}
	}
	if len(r.SANs) == 0 {
		return r, errors.New("no name to ask for")
	}
	if len(r.SANs) > maxSANs {
		return r, fmt.Errorf("%d names, at most %d are allowed", len(r.SANs), maxSANs)
	}
	for _, san := range r.SANs {
		if san == "" {
			return r, errors.New("an empty name")
		}
	}
	if r.Subject == "" {
		r.Subject = r.SANs[0]
	}
	if r.Lifetime < 0 {
		return r, fmt.Errorf("negative lifetime %v", r.Lifetime)
	}
	return r, nil
}
