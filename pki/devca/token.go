package devca

import (
	"time"

	"go.step.sm/crypto/jose"
	"go.step.sm/crypto/randutil"
)

const tokenLifetime = 5 * time.Minute

// Token returns a one-time token to enrol a certificate with that common name
// and those SANs (subject alone when there are none), good for five minutes.
// It is a secret. `step ca certificate --token` takes it, too.
func (ca *CA) Token(subject string, sans ...string) (string, error) {
	if len(sans) == 0 {
		sans = []string{subject}
	}
	return ca.token("/1.0/sign", subject, sans)
}

// RevokeToken returns a one-time token to revoke the certificate with that
// serial number, in decimal.
func (ca *CA) RevokeToken(serial string) (string, error) {
	return ca.token("/1.0/revoke", serial, nil)
}

func (ca *CA) token(path, subject string, sans []string) (string, error) {
	id, err := randutil.Hex(64)
	if err != nil {
		return "", err
	}
	key := ca.pki.provisioner
	opts := new(jose.SignerOptions).WithType("JWT").WithHeader("kid", key.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key.Key}, opts)
	if err != nil {
		return "", err
	}
	now := time.Now()
	return jose.Signed(signer).Claims(jose.Claims{
		ID:        id,
		Issuer:    provisionerName,
		Subject:   subject,
		Audience:  jose.Audience{ca.url.JoinPath(path).String()},
		IssuedAt:  jose.NewNumericDate(now),
		NotBefore: jose.NewNumericDate(now),
		Expiry:    jose.NewNumericDate(now.Add(tokenLifetime)),
	}).Claims(struct {
		SHA  string   `json:"sha"` // of the root: step bootstraps from it
		SANs []string `json:"sans,omitempty"`
	}{ca.Fingerprint(), sans}).CompactSerialize()
}
