package revocation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/sangate/sangate/pki/regularfile"
)

// A fileOrigin is a regular file. It is read at every look: that is cheap next
// to missing a change.
type fileOrigin string

func (f fileOrigin) read(context.Context, bool) ([]byte, error) {
	return regularfile.Read(string(f), MaxCRLBytes)
}

func (fileOrigin) kept() {}

// readBounded reads all, but no more than a list can have. Size is a guess that
// saves copies, -1 where there is none.
func readBounded(r io.Reader, size int64) ([]byte, error) {
	if size > MaxCRLBytes {
		return nil, fmt.Errorf("larger than %d bytes", MaxCRLBytes)
	}
	data := make([]byte, 0, max(size, 0)+512)
	r = io.LimitReader(r, MaxCRLBytes+1)
	for {
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case len(data) > MaxCRLBytes:
			return nil, fmt.Errorf("larger than %d bytes", MaxCRLBytes)
		case err == io.EOF:
			return data, nil
		case err != nil:
			return nil, err
		case len(data) == cap(data):
			data = append(data, 0)[:len(data)]
		}
	}
}

// A urlOrigin fetches by HTTP. A plain http address is fine: the list is signed,
// and going back to an older one is refused.
type urlOrigin struct {
	url    *url.URL
	client *http.Client

	seen, held validators // of the last answer, and of the list held
}

// validators tell whether an answer changed (RFC 9110, 8.8).
type validators struct{ etag, modified string }

func newURLOrigin(address string, transport http.RoundTripper, timeout time.Duration) (*urlOrigin, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("revocation: a list's address that is not a URL")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("revocation: %s: a list's address is http:// or https://, without user or fragment", u.Redacted())
	}
	return &urlOrigin{url: u, client: &http.Client{
		Transport: transport,
		Timeout:   timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}, nil
}

func (o *urlOrigin) name() string { return o.url.String() }

func (o *urlOrigin) kept() { o.held = o.seen }

func (o *urlOrigin) read(ctx context.Context, anew bool) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/pkix-crl, */*;q=0.1")
	req.Header.Set("Accept-Encoding", "identity") // an inflated answer would escape the bound
	asked := !anew && o.held != validators{}
	if asked && o.held.etag != "" {
		req.Header.Set("If-None-Match", o.held.etag)
	}
	if asked && o.held.modified != "" {
		req.Header.Set("If-Modified-Since", o.held.modified)
	}
	resp, err := o.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the address is told already
		}
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && asked:
		o.seen = o.held
		return nil, nil
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, fmt.Errorf("answered %d: redirects are not followed; name the list's own address", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("answered %d", resp.StatusCode)
	case resp.Header.Get("Content-Encoding") != "":
		return nil, errors.New("answered with a content encoding nobody asked for")
	}
	data, err := readBounded(resp.Body, resp.ContentLength)
	if err != nil {
		return nil, err
	}
	o.seen = validators{resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")}
	return data, nil
}
