package stepca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"

	"go.step.sm/crypto/keyutil"
)

// A KeyKind is an algorithm and size of a private key to be made.
type KeyKind uint8

// The kinds of keys. The zero value is EC P-256.
const (
	ECP256 KeyKind = iota
	ECP384
	Ed25519
	RSA3072
)

var keyKinds = [...]struct {
	name, kty, crv string
	size           int
}{
	ECP256:  {"ec-p256", "EC", "P-256", 0},
	ECP384:  {"ec-p384", "EC", "P-384", 0},
	Ed25519: {"ed25519", "OKP", "Ed25519", 0},
	RSA3072: {"rsa-3072", "RSA", "", 3072},
}

// String returns the name of the kind as [ParseKeyKind] takes it.
func (k KeyKind) String() string {
	if int(k) >= len(keyKinds) {
		return "unknown"
	}
	return keyKinds[k].name
}

// ParseKeyKind reads ec-p256, ec-p384, ed25519 or rsa-3072.
func ParseKeyKind(s string) (KeyKind, error) {
	for k, kind := range keyKinds {
		if s == kind.name {
			return KeyKind(k), nil
		}
	}
	return 0, fmt.Errorf("unknown key kind %q; use ec-p256, ec-p384, ed25519 or rsa-3072", s)
}

func (k KeyKind) generate() (crypto.Signer, error) {
	if int(k) >= len(keyKinds) {
		return nil, fmt.Errorf("unknown key kind %d", k)
	}
	kind := keyKinds[k]
	return keyutil.GenerateSigner(kind.kty, kind.crv, kind.size)
}

// kindOf returns the kind to rekey with: the one the old key was of, or the
// nearest that is not weaker.
func kindOf(pub crypto.PublicKey) KeyKind {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if pub.Curve == elliptic.P256() {
			return ECP256
		}
		return ECP384
	case ed25519.PublicKey:
		return Ed25519
	case *rsa.PublicKey:
		return RSA3072
	}
	return ECP256
}
