package stepca

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"

	"go.step.sm/crypto/kms"
	"go.step.sm/crypto/kms/apiv1"
	"go.step.sm/crypto/kms/uri"
	"go.step.sm/crypto/pemutil"

	"encoding/pem"

	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

// algorithms names each kind as a KMS does.
var algorithms = [...]apiv1.SignatureAlgorithm{
	ECP256:  apiv1.ECDSAWithSHA256,
	ECP384:  apiv1.ECDSAWithSHA384,
	Ed25519: apiv1.PureEd25519,
	RSA3072: apiv1.SHA256WithRSA,
	RSA2048: apiv1.SHA256WithRSA,
	RSA4096: apiv1.SHA256WithRSA,
}

// OpenKey opens the key that a KMS URI names (RFC 7512 style, as step's), and
// makes one of the given kind where there is none. What it returns signs and
// cannot be exported. softkms is always there; other systems are, where the
// program imports their package of go.step.sm/crypto/kms.
//
// No error says the URI's PIN.
func OpenKey(ctx context.Context, keyURI string, kind KeyKind) (crypto.Signer, error) {
	key, err := openKey(ctx, keyURI, kind)
	if err != nil {
		return nil, fmt.Errorf("stepca: key %s: %s", shown(keyURI), withoutPIN(err.Error(), keyURI))
	}
	return heldKey{key}, nil
}

// A heldKey hides the methods, and the type, a private key would be written by.
type heldKey struct{ crypto.Signer }

func openKey(ctx context.Context, keyURI string, kind KeyKind) (crypto.Signer, error) {
	u, err := uri.Parse(keyURI)
	if err != nil {
		return nil, errors.New("not a KMS URI; it looks like softkms:path=/etc/sangate/server.key or pkcs11:module-path=…;object=…")
	}
	if int(kind) >= len(algorithms) {
		return nil, fmt.Errorf("unknown key kind %d", kind)
	}
	manager, err := kms.New(ctx, apiv1.Options{Type: apiv1.Type(u.Scheme), URI: keyURI})
	if err != nil {
		return nil, err
	}
	// The manager stays open as long as its key: closing it would end a PKCS #11
	// session the key signs in.
	key, err := manager.CreateSigner(&apiv1.CreateSignerRequest{SigningKey: keyURI})
	if err == nil {
		return key, nil
	}
	if !errors.Is(err, apiv1.NotFoundError{}) {
		manager.Close()
		return nil, err
	}
	key, err = createKey(manager, keyURI, kind)
	if err != nil {
		manager.Close()
		return nil, fmt.Errorf("there is none, and none could be made: %w", err)
	}
	return key, nil
}

func createKey(manager apiv1.KeyManager, keyURI string, kind KeyKind) (crypto.Signer, error) {
	created, err := manager.CreateKey(&apiv1.CreateKeyRequest{
		Name: keyURI, SignatureAlgorithm: algorithms[kind], Bits: keyKinds[kind].size,
	})
	if err != nil {
		return nil, err
	}
	if created.PrivateKey != nil { // softkms keeps nothing itself
		block, err := pemutil.Serialize(created.PrivateKey, pemutil.WithPKCS8(true))
		if err != nil {
			return nil, err
		}
		if err := atomicfile.Write(created.Name, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	return manager.CreateSigner(&created.CreateSignerRequest)
}

// shown returns the scheme alone: the rest may hold a PIN.
func shown(keyURI string) string {
	scheme, _, found := strings.Cut(keyURI, ":")
	if !found {
		return "(no URI)"
	}
	return oneLine(scheme) + ":…"
}

// withoutPIN takes out of a message what it repeats of the URI.
func withoutPIN(message, keyURI string) string {
	secrets := []string{keyURI}
	if u, err := uri.Parse(keyURI); err == nil {
		secrets = append(secrets, u.RawQuery, u.Get("pin-value"))
	}
	for _, secret := range secrets {
		if secret != "" {
			message = strings.ReplaceAll(message, secret, "…")
		}
	}
	return oneLine(message)
}
