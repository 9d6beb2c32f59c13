package stepca

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/smallstep/certificates/api"
	"go.step.sm/crypto/jose"
	"go.step.sm/crypto/x509util"
)

// ErrExpired reports a certificate that can no longer prove anything.
var ErrExpired = errors.New("the certificate has expired")

// Renew gets a new certificate for the same key and names. One that has expired
// is renewed by a token signed with its key, which the authority refuses unless
// the provisioner has allowRenewalAfterExpiry, and also where the certificate's
// dates span less than a minute: step-ca verifies it as of a minute before its end.
func (c *Client) Renew(ctx context.Context, old *Pair) (*Pair, error) {
	if c.now().After(old.Leaf().NotAfter) {
		return c.renewExpired(ctx, old)
	}
	return c.replace(ctx, old, old.key, "renew", func(s session) (*api.SignResponse, error) {
		return s.client.RenewWithContext(s.ctx, s.own)
	})
}

// Rekey gets a new certificate for a new key of the same algorithm and size,
// and the same names. It returns [ErrExpired] for a certificate that can only
// be renewed.
func (c *Client) Rekey(ctx context.Context, old *Pair) (*Pair, error) {
	key, err := another(old.Leaf().PublicKey)
	if err != nil {
		return nil, fmt.Errorf("stepca: rekey: key: %w", err)
	}
	return c.RekeyTo(ctx, old, key)
}

// RekeyTo is [Client.Rekey] to a given key.
func (c *Client) RekeyTo(ctx context.Context, old *Pair, key crypto.Signer) (*Pair, error) {
	leaf := old.Leaf()
	if c.now().After(leaf.NotAfter) {
		return nil, fmt.Errorf("stepca: rekey: %w", ErrExpired)
	}
	// The authority takes the key from the request, the names from the old
	// certificate.
	csr, err := x509util.CreateCertificateRequest(leaf.Subject.CommonName, nil, key)
	if err != nil {
		return nil, fmt.Errorf("stepca: rekey: %w", err)
	}
	return c.replace(ctx, old, key, "rekey", func(s session) (*api.SignResponse, error) {
		return s.client.RekeyWithContext(s.ctx, &api.RekeyRequest{CsrPEM: api.NewCertificateRequest(csr)}, s.own)
	})
}

func (c *Client) renewExpired(ctx context.Context, old *Pair) (*Pair, error) {
	token, err := c.renewToken(old)
	if err != nil {
		return nil, fmt.Errorf("stepca: renew after expiry: %w", err)
	}
	return c.replace(ctx, old, old.key, "renew after expiry", func(s session) (*api.SignResponse, error) {
		return s.client.RenewWithTokenAndContext(s.ctx, token)
	})
}

// replace asks and vets: the new certificate is for key and for exactly the
// names of the old one. After expiry there is no pair to present, only a token.
func (c *Client) replace(ctx context.Context, old *Pair, key crypto.Signer, op string, ask func(session) (*api.SignResponse, error)) (*Pair, error) {
	present := old
	if c.now().After(old.Leaf().NotAfter) {
		present = nil
	}
	var pair *Pair
	err := c.call(ctx, present, op, func(s session) error {
		resp, err := ask(s)
		if err != nil {
			return err
		}
		pair, err = wanted{
			key: key, names: names(old.Leaf()), exact: true, old: old.Leaf(),
			roots: s.anchors, now: c.now(),
		}.take(resp)
		return err
	})
	return pair, err
}

// renewToken signs, with the expired certificate's key, the token step-ca takes
// in its place: the chain in x5cInsecure, and its own issuer name.
func (c *Client) renewToken(p *Pair) (string, error) {
	key, chain, err := signingKey(p)
	if err != nil {
		return "", err
	}
	claims := c.claims("step-ca-client/1.0", p.Leaf().Subject.CommonName, c.url.JoinPath("renew").String())
	return c.sign(key, map[string]any{jose.X5cInsecureKey: chain}, claims)
}
