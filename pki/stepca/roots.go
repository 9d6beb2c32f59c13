package stepca

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/smallstep/certificates/api"
)

// maxRoots bounds the roots an authority may name.
const maxRoots = 100

// Anchors returns the roots this client trusts, after fetching and checking
// them where only a fingerprint was given. It returns [ErrFingerprint].
func (c *Client) Anchors(ctx context.Context) ([]*x509.Certificate, error) {
	if roots := c.roots.Load(); roots != nil {
		return *roots, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	// The connection proves nothing yet; the digest of what it carries does.
	tr := newTransport(nil, nil)
	tr.TLSClientConfig.InsecureSkipVerify = true
	client, err := c.dial(tr)
	if err != nil {
		return nil, err
	}
	found, err := certificates(client.RootsWithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("stepca: root certificate of %s: %w", c.url, err)
	}
	for _, root := range found {
		if c.configured(root) {
			roots := []*x509.Certificate{root}
			c.roots.CompareAndSwap(nil, &roots) // unless Trust was quicker
			return roots, nil
		}
	}
	return nil, fmt.Errorf("stepca: %s: %w", c.url, ErrFingerprint)
}

// Roots asks the authority, over a connection it has proved itself on, for its
// current roots: at least one, each a CA's. During a root rotation these are
// more than [Client.Anchors]; [Client.Trust] takes them up.
func (c *Client) Roots(ctx context.Context) ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	err := c.call(ctx, nil, "roots", func(s session) (err error) {
		roots, err = certificates(s.client.RootsWithContext(s.ctx))
		if err == nil && len(roots) == 0 {
			err = errors.New("the authority names no root")
		}
		return err
	})
	return roots, err
}

// Federation asks for the roots of the authority and of those it is federated
// with. They are for verifying peers; the authority itself may not prove
// itself by another's.
func (c *Client) Federation(ctx context.Context) ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	err := c.call(ctx, nil, "federation", func(s session) error {
		resp, err := s.client.FederationWithContext(s.ctx)
		if err != nil {
			return err
		}
		roots, err = unwrap(resp.Certificates)
		return err
	})
	return roots, err
}

// Trust takes up roots that the authority named over a proved connection, or
// that were kept from such an answer: from now on it may prove itself by these
// and by what the client was made with, and by nothing else.
func (c *Client) Trust(roots []*x509.Certificate) {
	anchors := slices.DeleteFunc(slices.Clone(c.known()), func(crt *x509.Certificate) bool { return !c.configured(crt) })
	anchors = union(anchors, roots)
	if len(anchors) > 0 {
		c.roots.Store(&anchors)
	}
}

// known returns what is trusted without asking; none before the root that a
// fingerprint names was fetched.
func (c *Client) known() []*x509.Certificate {
	if roots := c.roots.Load(); roots != nil {
		return *roots
	}
	return nil
}

// configured tells a root that the client was made with.
func (c *Client) configured(crt *x509.Certificate) bool {
	if c.fingerprint == nil {
		return slices.ContainsFunc(c.given, crt.Equal)
	}
	sum := sha256.Sum256(crt.Raw)
	return subtle.ConstantTimeCompare(sum[:], c.fingerprint) == 1
}

// pin names the authority and the configured root, so that roots kept for
// another are not taken for this one's.
func (c *Client) pin() [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%x\n", c.url, c.fingerprint)
	for _, crt := range c.given {
		h.Write(crt.Raw)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// union returns a and what b adds to it.
func union(a, b []*x509.Certificate) []*x509.Certificate {
	all := slices.Clip(a)
	for _, crt := range b {
		if !slices.ContainsFunc(all, crt.Equal) {
			all = append(all, crt)
		}
	}
	return all
}

// certificates unwraps an answer of roots.
func certificates(resp *api.RootsResponse, err error) ([]*x509.Certificate, error) {
	if err != nil {
		return nil, err
	}
	return unwrap(resp.Certificates)
}

// unwrap refuses a null in the list, and what is no CA's.
func unwrap(list []api.Certificate) ([]*x509.Certificate, error) {
	if len(list) > maxRoots {
		return nil, fmt.Errorf("the answer lists %d roots, at most %d are taken", len(list), maxRoots)
	}
	var certs []*x509.Certificate
	for _, crt := range list {
		switch {
		case crt.Certificate == nil:
			return nil, errors.New("the answer lists an empty certificate")
		case !crt.IsCA:
			return nil, fmt.Errorf("the answer lists %q, which is no CA", oneLine(crt.Subject.String()))
		}
		certs = append(certs, crt.Certificate)
	}
	return certs, nil
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, crt := range certs {
		p.AddCert(crt)
	}
	return p
}
