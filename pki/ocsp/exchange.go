package ocsp

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/crypto/ocsp"
)

func newClient(opts *Options) *http.Client {
	return &http.Client{
		Transport: opts.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// exchange asks the responder at address and returns what it sent, bounded and
// unchecked (RFC 6960, appendix A). A plain http address is fine: answers are
// signed.
func (c *Cache) exchange(ctx context.Context, address string, q question) ([]byte, error) {
	cert := &x509.Certificate{SerialNumber: q.serial}
	body, err := ocsp.CreateRequest(cert, q.issuer, &ocsp.RequestOptions{Hash: c.opts.Hash})
	if err != nil {
		return nil, fmt.Errorf("no OCSP request can be made: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.Timeout, fmt.Errorf("nothing within %s", c.opts.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the OCSP responder's address is not a URL")
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	req.Header.Set("Accept", "application/ocsp-response")
	req.Header.Set("Accept-Encoding", "identity") // an inflated answer would escape the bound
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, trouble(ctx, req.URL, err)
	}
	defer resp.Body.Close()
	if err := checkHeader(resp); err != nil {
		return nil, fmt.Errorf("the OCSP responder %q %w", clip(req.URL.Host), err)
	}
	der, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswerBytes+1))
	switch {
	case err != nil:
		return nil, trouble(ctx, req.URL, err)
	case len(der) > MaxAnswerBytes:
		return nil, fmt.Errorf("the OCSP responder %q answered more than %d bytes", clip(req.URL.Host), MaxAnswerBytes)
	}
	return der, nil
}

func checkHeader(resp *http.Response) error {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("answered %d: redirects are not followed; name the responder's own address", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("answered %d", resp.StatusCode)
	case err != nil || media != "application/ocsp-response":
		return fmt.Errorf("answered with %q, not application/ocsp-response", clip(resp.Header.Get("Content-Type")))
	case resp.Header.Get("Content-Encoding") != "":
		return errors.New("answered with a content encoding nobody asked for")
	case resp.ContentLength > MaxAnswerBytes:
		return fmt.Errorf("answered more than %d bytes", MaxAnswerBytes)
	}
	return nil
}

// A troubleError is of the network. Its text is one line, whoever had a say in it.
type troubleError struct {
	host string
	text string
	err  error
}

func (e *troubleError) Error() string {
	return fmt.Sprintf("the OCSP responder %q: %s", clip(e.host), e.text)
}

func (e *troubleError) Unwrap() error { return e.err }

func trouble(ctx context.Context, at *url.URL, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the address is told already
	}
	if cause := context.Cause(ctx); cause != nil {
		return &troubleError{at.Host, cause.Error(), err}
	}
	return &troubleError{at.Host, oneLine(err.Error()), err}
}

// oneLine quotes what is more than plain text.
func oneLine(s string) string {
	s = clip(s)
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
