package stepca

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/smallstep/certificates/ca"
	"go.step.sm/crypto/jose"
)

// maxPages bounds the pages of provisioners looked through, 100 on each.
const maxPages = 50

// Password enrols as a JWK provisioner does: its encrypted key comes from the
// authority, the password for it from a file, read at each attempt. The key is
// kept no longer than the attempt.
type Password struct {
	Client      *Client
	Provisioner string
	File        string // the provisioner's password; white space at its end does not count
}

// Enrol makes a token and trades it for a certificate.
func (p Password) Enrol(ctx context.Context, req Request) (*Pair, error) {
	return p.Client.enrolBy(ctx, req, p.Token)
}

// Token makes a one-time token for a certificate of that subject and names.
func (p Password) Token(ctx context.Context, subject string, sans []string) (string, error) {
	jwk, err := p.key(ctx)
	if err != nil {
		return "", fmt.Errorf("stepca: provisioner %q: %w", p.Provisioner, err)
	}
	key := jose.SigningKey{Algorithm: jose.SignatureAlgorithm(jwk.Algorithm), Key: jwk.Key}
	token, err := p.Client.provisionerToken(key, map[string]any{"kid": jwk.KeyID}, p.Provisioner, "", subject, sans)
	if err != nil {
		return "", fmt.Errorf("stepca: provisioner %q: token: %w", p.Provisioner, err)
	}
	return token, nil
}

// key finds and opens the provisioner's key. smallstep's own NewProvisioner
// does the same without a context, a deadline or a bound.
func (p Password) key(ctx context.Context) (*jose.JSONWebKey, error) {
	password, err := readFile(p.File)
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	password = bytes.TrimRight(password, " \t\r\n")
	defer clear(password)
	if len(password) == 0 {
		return nil, fmt.Errorf("password: %s is empty", p.File)
	}
	sealed, err := p.Client.provisionerKeys(ctx, p.Provisioner)
	if err != nil {
		return nil, err
	}
	for _, s := range sealed {
		if jwk, err := open(s, password); err == nil {
			return jwk, nil
		}
	}
	if len(sealed) == 0 {
		return nil, errors.New("the authority has no JWK provisioner of that name that gives out its key (`step ca provisioner list`)")
	}
	return nil, fmt.Errorf("the password in %s does not open its key", p.File)
}

// provisionerKeys returns the encrypted keys of the provisioners of a name.
func (c *Client) provisionerKeys(ctx context.Context, name string) (sealed []string, err error) {
	err = c.call(ctx, nil, "provisioners", func(s session) error {
		cursor := ""
		for range maxPages {
			resp, err := s.client.ProvisionersWithContext(s.ctx, ca.WithProvisionerCursor(cursor), ca.WithProvisionerLimit(100))
			if err != nil {
				return err
			}
			for _, p := range resp.Provisioners {
				if p == nil || p.GetName() != name {
					continue
				}
				if _, key, ok := p.GetEncryptedKey(); ok {
					sealed = append(sealed, key)
				}
			}
			if cursor = resp.NextCursor; cursor == "" {
				return nil
			}
		}
		return fmt.Errorf("more than %d pages of provisioners", maxPages)
	})
	return sealed, err
}

// open decrypts a provisioner's key (RFC 7516, PBES2).
func open(sealed string, password []byte) (*jose.JSONWebKey, error) {
	jwe, err := jose.ParseEncrypted(sealed)
	if err != nil {
		return nil, err
	}
	data, err := jwe.Decrypt(password)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	jwk := new(jose.JSONWebKey)
	if err := json.Unmarshal(data, jwk); err != nil {
		return nil, err
	}
	if jwk.IsPublic() || jwk.Algorithm == "" {
		return nil, errors.New("not a private signing key")
	}
	return jwk, nil
}

// X5C enrols by a certificate that an X5C provisioner trusts, and its key. The
// files are read at each attempt: they may be kept alive by someone else.
type X5C struct {
	Client      *Client
	Provisioner string
	Cert, Key   string // PEM
}

// Enrol makes a token and trades it for a certificate.
func (x X5C) Enrol(ctx context.Context, req Request) (*Pair, error) {
	return x.Client.enrolBy(ctx, req, x.Token)
}

// Token makes a one-time token for a certificate of that subject and names. It
// returns [ErrExpired].
func (x X5C) Token(_ context.Context, subject string, sans []string) (string, error) {
	pair, err := ReadFiles(x.Cert, x.Key)
	if err != nil {
		return "", err
	}
	if x.Client.now().After(pair.Leaf().NotAfter) {
		return "", fmt.Errorf("stepca: %s: %w", x.Cert, ErrExpired)
	}
	key, chain, err := signingKey(pair)
	if err == nil {
		var token string
		token, err = x.Client.provisionerToken(key, map[string]any{"x5c": chain}, x.Provisioner, "x5c/"+x.Provisioner, subject, sans)
		if err == nil {
			return token, nil
		}
	}
	return "", fmt.Errorf("stepca: provisioner %q: token: %w", x.Provisioner, err)
}

// enrolBy enrols with a token made for the request.
func (c *Client) enrolBy(ctx context.Context, req Request, source func(ctx context.Context, subject string, sans []string) (string, error)) (*Pair, error) {
	if req.Subject == "" && len(req.SANs) == 0 {
		return nil, errNoName
	}
	req, err := req.complete("")
	if err != nil {
		return nil, fmt.Errorf("stepca: enrol: %w", err)
	}
	token, err := source(ctx, req.Subject, req.SANs)
	if err != nil {
		return nil, err
	}
	return c.Enrol(ctx, token, req)
}
