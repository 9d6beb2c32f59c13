package stepca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smallstep/certificates/api"
	"go.step.sm/crypto/keyutil"
)

// ErrVet is in every error about a certificate that the authority issued and
// that was not taken.
var ErrVet = errors.New("the authority issued a certificate that is not taken")

const (
	maxCertBytes = 16 << 10 // of each certificate: clients have to take all of them

	// What ends sooner than the certificate that is held is taken all the same if so much
	// is left of it: step-ca issues nothing shorter unless told to.
	shortestLeft = 5 * time.Minute
)

// A wanted is what an issued certificate is held against.
type wanted struct {
	key   crypto.Signer
	names []string          // sorted, as names returns them
	exact bool              // no further names: a renewal must not change who we are
	old   *x509.Certificate // to be replaced; nil: none
	roots []*x509.Certificate
	now   time.Time
}

// take makes a vetted pair of the authority's answer.
func (w wanted) take(resp *api.SignResponse) (*Pair, error) {
	chain, err := chainOf(resp)
	if err == nil {
		err = w.vet(chain)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVet, err)
	}
	return NewPair(chain, w.key)
}

// chainOf returns leaf and intermediates, without a root the authority sent.
func chainOf(resp *api.SignResponse) ([]*x509.Certificate, error) {
	answer := resp.CertChainPEM
	if len(answer) == 0 {
		answer = []api.Certificate{resp.ServerPEM, resp.CaPEM}
	}
	if len(answer) > maxChain {
		return nil, fmt.Errorf("%d certificates in the chain", len(answer))
	}
	var chain []*x509.Certificate
	for _, c := range answer {
		if c.Certificate != nil {
			chain = append(chain, c.Certificate)
		}
	}
	if len(chain) == 0 {
		return nil, errors.New("there is none in the answer")
	}
	root := func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }
	return append(chain[:1], slices.DeleteFunc(chain[1:], root)...), nil
}

func (w wanted) vet(chain []*x509.Certificate) error {
	leaf := chain[0]
	if !keyutil.Equal(leaf.PublicKey, w.key.Public()) {
		return ErrMismatch
	}
	for i, c := range chain {
		if len(c.Raw) > maxCertBytes {
			return fmt.Errorf("certificate %d of its chain has %d bytes, at most %d are taken", i, len(c.Raw), maxCertBytes)
		}
	}
	if leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign != 0 {
		return errors.New("it is a CA's, not a leaf")
	}
	if err := w.vetNames(leaf); err != nil {
		return err
	}
	if w.now.Before(leaf.NotBefore) || w.now.After(leaf.NotAfter) {
		return fmt.Errorf("it holds from %s to %s and it is now %s; compare this machine's clock with the authority's",
			leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339), w.now.UTC().Format(time.RFC3339))
	}
	if w.old != nil {
		if err := worse(leaf, w.old, w.now); err != nil {
			return err
		}
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         pool(w.roots),
		Intermediates: pool(chain[1:]),
		CurrentTime:   w.now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}

// worse says why a certificate must not replace another, of the same names.
func worse(next, old *x509.Certificate, now time.Time) error {
	if bytes.Equal(next.Raw, old.Raw) {
		return errors.New("it is the one to be replaced")
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if goodFor(old, usage) && !goodFor(next, usage) {
			return fmt.Errorf("it is not for %s, which the one to be replaced is; look at the authority's template", usage)
		}
	}
	if old.NotAfter.After(now) && next.NotAfter.Before(old.NotAfter) && next.NotAfter.Sub(now) < shortestLeft {
		return fmt.Errorf("it ends at %s, sooner than the one to be replaced and in less than %s",
			next.NotAfter.Format(time.RFC3339), shortestLeft)
	}
	return nil
}

// goodFor reports whether a peer takes a certificate for that usage (RFC 5280, sections
// 4.2.1.3 and 4.2.1.12): its key signs handshakes, and its extended usages, if it has any, say so.
func goodFor(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	signs := c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageDigitalSignature != 0
	return signs && (len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, usage) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny))
}

// vetNames takes further names at enrolment, where a provisioner's template may
// add them, but none fewer.
func (w wanted) vetNames(leaf *x509.Certificate) error {
	got := names(leaf)
	for _, name := range w.names {
		if _, ok := slices.BinarySearch(got, name); !ok {
			return fmt.Errorf("it lacks the name %q", name)
		}
	}
	if w.exact && len(got) != len(w.names) {
		return fmt.Errorf("its names are %q instead of %q", got, w.names)
	}
	return nil
}

// names returns the SANs of a certificate as type:value, sorted, each once.
func names(c *x509.Certificate) []string {
	var all []string
	for _, n := range c.DNSNames {
		all = append(all, "dns:"+strings.ToLower(n))
	}
	for _, n := range c.EmailAddresses {
		all = append(all, "email:"+n)
	}
	for _, n := range c.IPAddresses {
		all = append(all, "ip:"+n.String())
	}
	for _, n := range c.URIs {
		all = append(all, "uri:"+n.String())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// requested returns the SANs of a request in the same form.
func requested(csr *x509.CertificateRequest) []string {
	return names(&x509.Certificate{
		DNSNames:       csr.DNSNames,
		EmailAddresses: csr.EmailAddresses,
		IPAddresses:    csr.IPAddresses,
		URIs:           csr.URIs,
	})
}
