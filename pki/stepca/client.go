package stepca

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/smallstep/certificates/ca"
	"go.step.sm/crypto/pemutil"
)

// ErrFingerprint reports an authority that has no root with the fingerprint
// that was configured: another authority, or someone in between.
var ErrFingerprint = errors.New("the authority has no root certificate with the configured fingerprint; compare it with `step certificate fingerprint root_ca.crt`")

// Options say whom to trust. Exactly one of Fingerprint, RootFile and Roots
// must be set.
type Options struct {
	Fingerprint string              // SHA-256 of the root's DER, hexadecimal; colons are allowed
	RootFile    string              // PEM
	Roots       []*x509.Certificate // in memory

	Timeout time.Duration    // of one call, 15 s when zero
	Now     func() time.Time // time.Now when nil
}

// A Client talks to one step-ca. It holds no connection and no key, and may be
// used by several goroutines.
type Client struct {
	url         *url.URL
	fingerprint []byte              // of the root to fetch
	given       []*x509.Certificate // where no fingerprint was
	timeout     time.Duration
	now         func() time.Time

	roots atomic.Pointer[[]*x509.Certificate] // nil until fetched
}

// New returns a client of the authority at rawURL, an https URL without a path.
// It does no network I/O: with a fingerprint, the root is fetched and checked
// by the first call that needs it.
func New(rawURL string, opts Options) (*Client, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("stepca: %q is not the URL of an authority; give https://host:port", rawURL)
	}
	c := &Client{
		url:     &url.URL{Scheme: u.Scheme, Host: u.Host},
		timeout: cmp.Or(opts.Timeout, 15*time.Second),
		now:     opts.Now,
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.timeout < 0 {
		return nil, fmt.Errorf("stepca: negative timeout %v", c.timeout)
	}
	if err := c.trust(opts); err != nil {
		return nil, fmt.Errorf("stepca: %w", err)
	}
	return c, nil
}

// trust takes over whichever form the root was given in.
func (c *Client) trust(opts Options) error {
	given := 0
	for _, is := range []bool{opts.Fingerprint != "", opts.RootFile != "", len(opts.Roots) > 0} {
		if is {
			given++
		}
	}
	roots := opts.Roots
	var err error
	switch {
	case given != 1:
		return errors.New("give one of the root's fingerprint, a root file or root certificates")
	case opts.RootFile != "":
		data, err := readFile(opts.RootFile)
		if err == nil {
			roots, err = pemutil.ParseCertificateBundle(data)
		}
		if err != nil {
			return fmt.Errorf("root file: %w", err)
		}
	case opts.Fingerprint != "":
		c.fingerprint, err = hex.DecodeString(strings.ReplaceAll(opts.Fingerprint, ":", ""))
		if err != nil || len(c.fingerprint) != sha256.Size {
			return errors.New("the root's fingerprint must be 64 hexadecimal digits (SHA-256)")
		}
		return nil
	}
	c.given = roots
	c.roots.Store(&roots)
	return nil
}

// URL returns the authority's URL, https://host:port.
func (c *Client) URL() string { return c.url.String() }

// Health asks whether the authority is up.
func (c *Client) Health(ctx context.Context) error {
	return c.call(ctx, nil, "health", func(s session) error {
		_, err := s.client.HealthWithContext(s.ctx)
		return err
	})
}

// A session is what one call needs. own presents the caller's certificate; the
// step client takes it as an argument where that matters.
type session struct {
	ctx    context.Context // ends with the call's deadline
	client *ca.Client
	own    http.RoundTripper

	anchors []*x509.Certificate
}

// call runs f against the proved authority, with a deadline over all of it.
func (c *Client) call(ctx context.Context, pair *Pair, op string, f func(session) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	anchors, err := c.Anchors(ctx)
	if err != nil {
		return err
	}
	tr := newTransport(pool(anchors), pair)
	client, err := c.dial(tr)
	if err != nil {
		return err
	}
	if err := f(session{ctx, client, guard(tr), anchors}); err != nil {
		return fmt.Errorf("stepca: %s: %w", op, err)
	}
	return nil
}

func (c *Client) dial(tr *http.Transport) (*ca.Client, error) {
	client, err := ca.NewClient(c.URL(), ca.WithTransport(tr), ca.WithTransportDecorator(guard))
	if err != nil {
		return nil, fmt.Errorf("stepca: client for %s: %w", c.url, err)
	}
	return client, nil
}
