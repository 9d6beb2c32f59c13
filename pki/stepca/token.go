package stepca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.step.sm/crypto/jose"
	"go.step.sm/crypto/randutil"
)

// ErrTokenSpent reports a one-time token that is of no use any more.
var ErrTokenSpent = errors.New("the one-time token was used already or has expired; it works once: write a new one (`step ca token`) to the file")

// errNoName is for ways that have no token to take names from.
var errNoName = errors.New("stepca: enrol: no name to ask for; give at least one SAN")

// A OneTimeToken enrols with a token that someone else made and put in a file.
// The file is read at each attempt, so a new token is all it takes to try
// again.
type OneTimeToken struct {
	client *Client
	file   string

	mu    sync.Mutex
	spent [sha256.Size]byte // digest of the last token that was of no use, or was used
}

// NewOneTimeToken returns a way to enrol by the token in file.
func NewOneTimeToken(c *Client, file string) *OneTimeToken {
	return &OneTimeToken{client: c, file: file}
}

// Enrol trades the token for a certificate. It returns [ErrTokenSpent] when the
// authority refused the token, when this way has used it before, and when its
// own dates say that it is over. A token is not spent by an authority that
// cannot be reached.
func (o *OneTimeToken) Enrol(ctx context.Context, req Request) (*Pair, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	data, err := readFile(o.file)
	if err != nil {
		return nil, fmt.Errorf("stepca: one-time token: %w", err)
	}
	token := string(bytes.TrimSpace(data))
	if token == "" {
		return nil, fmt.Errorf("stepca: one-time token: %s is empty; write a token (`step ca token`) to it", o.file)
	}
	sum := sha256.Sum256([]byte(token))
	if sum == o.spent || over(token, o.client.now()) {
		return nil, fmt.Errorf("stepca: %s: %w", o.file, ErrTokenSpent)
	}
	pair, err := o.client.Enrol(ctx, token, req)
	refused, answered := errors.AsType[*StatusError](err)
	switch {
	case answered && (refused.Status == 401 || refused.Status == 403):
		o.spent = sum
		return nil, fmt.Errorf("stepca: %s: %w (%w)", o.file, ErrTokenSpent, err)
	case err == nil || errors.Is(err, ErrVet):
		o.spent = sum
	}
	return pair, err
}

// over reads the token's own end, which the authority will hold it to.
func over(token string, now time.Time) bool {
	jwt, err := jose.ParseSigned(token)
	if err != nil {
		return false // Client.Enrol says what is wrong with it
	}
	var claims jose.Claims
	err = jwt.UnsafeClaimsWithoutVerification(&claims)
	return err == nil && claims.Expiry != nil && now.After(claims.Expiry.Time().Add(time.Minute))
}

// tokenLifetime is how long a token made here may be used.
const tokenLifetime = 5 * time.Minute

// provisionerToken makes the token that a provisioner of step-ca takes for a
// signing request.
func (c *Client) provisionerToken(key jose.SigningKey, header map[string]any, issuer, fragment, subject string, sans []string) (string, error) {
	aud := c.url.JoinPath("1.0", "sign")
	aud.Fragment = fragment
	claims := struct {
		jose.Claims
		SANs []string `json:"sans"`
	}{c.claims(issuer, subject, aud.String()), sans}
	return c.sign(key, header, claims)
}

// claims are those every token here has, but for an id.
func (c *Client) claims(issuer, subject, audience string) jose.Claims {
	now := c.now()
	return jose.Claims{
		Subject:   subject,
		Issuer:    issuer,
		Audience:  jose.Audience{audience},
		NotBefore: jose.NewNumericDate(now),
		IssuedAt:  jose.NewNumericDate(now),
		Expiry:    jose.NewNumericDate(now.Add(tokenLifetime)),
	}
}

// sign makes a compact JWS of claims, with an id no other token has.
func (c *Client) sign(key jose.SigningKey, header map[string]any, claims any) (string, error) {
	id, err := randutil.Hex(64)
	if err != nil {
		return "", err
	}
	opts := new(jose.SignerOptions).WithType("JWT")
	for name, value := range header {
		opts = opts.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(key, opts)
	if err != nil {
		return "", err
	}
	return jose.Signed(signer).Claims(claims).Claims(jose.Claims{ID: id}).CompactSerialize()
}

// signingKey is a pair's key, and its chain as tokens carry it.
func signingKey(p *Pair) (jose.SigningKey, []string, error) {
	key := jose.NewOpaqueSigner(p.key)
	algs := key.Algs()
	if len(algs) == 0 {
		return jose.SigningKey{}, nil, fmt.Errorf("no signature algorithm for a %T", p.key.Public())
	}
	var chain []string
	for _, crt := range p.chain {
		chain = append(chain, base64.StdEncoding.EncodeToString(crt.Raw))
	}
	return jose.SigningKey{Algorithm: algs[0], Key: key}, chain, nil
}
