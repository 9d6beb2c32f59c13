package stepca

import (
	"context"
	"math/big"

	"github.com/smallstep/certificates/api"
)

// A Reason is a revocation reason, the CRLReason code of RFC 5280, 5.3.1, and
// words for the authority's records.
type Reason struct {
	Code int // 0 unspecified, 1 key compromise, 4 superseded, 5 cessation of operation
	Text string
}

// Revoke revokes the pair's own certificate, proved by its key.
//
// step-ca revokes one serial number, passively: no renewal of it, and an entry
// in the CRL where one is kept. Certificates it was renewed to go on.
func (c *Client) Revoke(ctx context.Context, pair *Pair, why Reason) error {
	return c.revoke(ctx, pair, &api.RevokeRequest{Serial: pair.Leaf().SerialNumber.String()}, why)
}

// RevokeSerial revokes the certificate with the given serial number by a
// revocation token of the provisioner (`step ca token --revoke`).
func (c *Client) RevokeSerial(ctx context.Context, serial *big.Int, token string, why Reason) error {
	return c.revoke(ctx, nil, &api.RevokeRequest{Serial: serial.String(), OTT: token}, why)
}

func (c *Client) revoke(ctx context.Context, pair *Pair, req *api.RevokeRequest, why Reason) error {
	req.ReasonCode, req.Reason, req.Passive = why.Code, why.Text, true
	return c.call(ctx, pair, "revoke", func(s session) error {
		_, err := s.client.RevokeWithContext(s.ctx, req, s.own)
		return err
	})
}
