package stepca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"

	"go.step.sm/crypto/keyutil"
	"go.step.sm/crypto/kms/apiv1"

	"github.com/sangate/sangate/pki/kms"
)

// A KeyKind is an algorithm and size of a private key to be made.
type KeyKind uint8

// The kinds of keys. The zero value is EC P-256.
const (
	ECP256 KeyKind = iota
	ECP384
	Ed25519
	RSA3072
	RSA2048
	RSA4096
)

var keyKinds = [...]struct {
	name, kty, crv string
	size           int
}{
	ECP256:  {"ec-p256", "EC", "P-256", 0},
	ECP384:  {"ec-p384", "EC", "P-384", 0},
	Ed25519: {"ed25519", "OKP", "Ed25519", 0},
	RSA3072: {"rsa-3072", "RSA", "", 3072},
	RSA2048: {"rsa-2048", "RSA", "", 2048},
	RSA4096: {"rsa-4096", "RSA", "", 4096},
}

// String returns the name of the kind as [ParseKeyKind] takes it.
func (k KeyKind) String() string {
	if int(k) >= len(keyKinds) {
		return "unknown"
	}
	return keyKinds[k].name
}

// keyKindNames is what [ParseKeyKind] takes, for messages.
const keyKindNames = "ec-p256, ec-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096"

// algorithms names each kind as a KMS does.
var algorithms = [...]apiv1.SignatureAlgorithm{
	ECP256:  apiv1.ECDSAWithSHA256,
	ECP384:  apiv1.ECDSAWithSHA384,
	Ed25519: apiv1.PureEd25519,
	RSA3072: apiv1.SHA256WithRSA,
	RSA2048: apiv1.SHA256WithRSA,
	RSA4096: apiv1.SHA256WithRSA,
}

// OpenKey opens the key that a KMS URI names, and makes one of the given kind
// where there is none; see package kms. What it returns signs and cannot be
// exported.
func OpenKey(ctx context.Context, keyURI string, kind KeyKind) (crypto.Signer, error) {
	if int(kind) >= len(algorithms) {
		return nil, fmt.Errorf("stepca: unknown key kind %d", kind)
	}
	key, err := kms.OpenOrCreate(ctx, keyURI, algorithms[kind], keyKinds[kind].size)
	if err != nil {
		return nil, fmt.Errorf("stepca: %w", err)
	}
	return key, nil
}

// ParseKeyKind reads ec-p256, ec-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096.
func ParseKeyKind(s string) (KeyKind, error) {
	for k, kind := range keyKinds {
		if s == kind.name {
			return KeyKind(k), nil
		}
	}
	return 0, fmt.Errorf("unknown key kind %q; use %s", s, keyKindNames)
}

func (k KeyKind) generate() (crypto.Signer, error) {
	if int(k) >= len(keyKinds) {
		return nil, fmt.Errorf("unknown key kind %d", k)
	}
	kind := keyKinds[k]
	return keyutil.GenerateSigner(kind.kty, kind.crv, kind.size)
}

// another makes a key of the same algorithm and size as pub: a rekey must not
// quietly end in a weaker one. Sizes that are not made here are refused.
func another(pub crypto.PublicKey) (crypto.Signer, error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return keyutil.GenerateSigner("EC", pub.Params().Name, 0)
		}
		return nil, fmt.Errorf("no new key on the curve %s; enrol again with another kind", pub.Params().Name)
	case ed25519.PublicKey:
		return Ed25519.generate()
	case *rsa.PublicKey:
		if bits := pub.N.BitLen(); bits == 2048 || bits == 3072 || bits == 4096 {
			return keyutil.GenerateSigner("RSA", "", bits)
		}
		return nil, fmt.Errorf("no new RSA key of %d bits; enrol again with another kind", pub.N.BitLen())
	}
	return nil, fmt.Errorf("no new key like a %T; enrol again with another kind", pub)
}
