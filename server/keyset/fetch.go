package keyset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/sangate/sangate/server/egress"
)

// maxBody bounds a key set and a discovery document.
const maxBody = 1 << 20

// wellKnown is where an issuer describes itself (OpenID Connect Discovery 1.0, 4).
const wellKnown = "/.well-known/openid-configuration"

// ErrIssuer reports a discovery document of somebody else.
var ErrIssuer = errors.New("names another issuer")

// fetch gets the key set from where it is.
func (s *Set) fetch(ctx context.Context) (*Keys, error) {
	at := s.opts.URL
	if at == "" {
		var err error
		if at, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	data, err := s.get(ctx, at)
	if err != nil {
		return nil, err
	}
	keys, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown(at), err)
	}
	return keys, nil
}

// discover asks the issuer where its keys are. The document must name exactly
// the issuer that was asked for (OpenID Connect Discovery 1.0, 4.3). Microsoft's
// for all tenants stands under one of its names for them.
func (s *Set) discover(ctx context.Context) (string, error) {
	at := strings.TrimSuffix(strings.ReplaceAll(s.opts.Issuer, "{tenantid}", "common"), "/") + wellKnown
	data, err := s.get(ctx, at)
	if err != nil {
		return "", err
	}
	var doc struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := jsonv2.Unmarshal(data, &doc); err != nil {
		return "", fmt.Errorf("%s: %w", at, err)
	}
	if doc.Issuer != s.opts.Issuer {
		return "", fmt.Errorf("%s: %w, %.200q; write it so, or set jwksURL", at, ErrIssuer, doc.Issuer)
	}
	if err := egress.CheckURL(doc.Keys); err != nil {
		return "", fmt.Errorf("%s: jwks_uri: %w", at, err)
	}
	return doc.Keys, nil
}

func (s *Set) get(ctx context.Context, at string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := s.opts.Client.Do(req)
	if err != nil {
		return nil, plain(err, shown(at))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", shown(at), res.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || kind == "text/html" {
		return nil, fmt.Errorf("%s answered with %.100q, not JSON", shown(at), res.Header.Get("Content-Type"))
	}
	data, err := readAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown(at), err)
	}
	return data, nil
}

// shown is a URL without its query, which may hold a secret.
func shown(at string) string {
	at, _, _ = strings.Cut(at, "?")
	return at
}

// plain leaves the method and URL out that url.Error repeats.
func plain(err error, at string) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fmt.Errorf("%s did not answer in time: %w", at, err)
	}
	return fmt.Errorf("%s: %w", at, err)
}

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(data) > maxBody {
		err = errors.New("more than 1 MiB")
	}
	return data, err
}
