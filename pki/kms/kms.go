// Package kms opens private keys that are held elsewhere and cannot be exported:
// in a PKCS #11 module, a cloud's key service, or a file of softkms, by the URIs
// of step (RFC 7512 style).
//
// softkms is always there; other systems are where the program imports their
// package of go.step.sm/crypto/kms. No error says a URI's PIN.
package kms

import (
	"cmp"
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"go.step.sm/crypto/kms"
	"go.step.sm/crypto/kms/apiv1"
	"go.step.sm/crypto/kms/softkms"
	"go.step.sm/crypto/kms/uri"
	"go.step.sm/crypto/pemutil"

	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

// A Key signs. It hides the methods, and the type, a private key would be
// written by.
type Key struct {
	crypto.Signer
	manager apiv1.KeyManager // stays open: closing it ends a PKCS #11 session the key signs in
}

// Close ends the connection the key signs over.
func (k *Key) Close() error { return k.manager.Close() }

// IsURI reports whether s names a key of one of the known systems, and not a
// file.
func IsURI(s string) bool {
	typ, err := apiv1.TypeOf(s)
	return err == nil && typ != apiv1.DefaultKMS
}

// Open opens a key.
func Open(ctx context.Context, keyURI string) (*Key, error) {
	return open(ctx, keyURI, nil)
}

// OpenOrCreate opens a key, and makes one of the given algorithm, and size in
// bits for RSA, where there is none.
func OpenOrCreate(ctx context.Context, keyURI string, algorithm apiv1.SignatureAlgorithm, bits int) (*Key, error) {
	return open(ctx, keyURI, &apiv1.CreateKeyRequest{Name: keyURI, SignatureAlgorithm: algorithm, Bits: bits})
}

func open(ctx context.Context, keyURI string, create *apiv1.CreateKeyRequest) (*Key, error) {
	u, err := uri.Parse(keyURI)
	if err != nil {
		return nil, fmt.Errorf("key %s: not a KMS URI; it looks like softkms:path=/etc/sangate/server.key or pkcs11:module-path=…;object=…", Shown(keyURI))
	}
	manager, err := kms.New(ctx, apiv1.Options{Type: apiv1.Type(u.Scheme), URI: keyURI})
	if err != nil {
		return nil, fmt.Errorf("key %s: %s", Shown(keyURI), withoutPIN(err.Error(), keyURI))
	}
	request := &apiv1.CreateSignerRequest{SigningKey: keyURI}
	request.SigningKeyPEM, err = readSoftKey(u)
	var key crypto.Signer
	if err == nil {
		key, err = manager.CreateSigner(request)
	}
	if create != nil && errors.Is(err, apiv1.NotFoundError{}) {
		if key, err = makeKey(manager, create); err != nil {
			err = fmt.Errorf("there is none, and none could be made: %w", err)
		}
	}
	if err != nil {
		_ = manager.Close()
		return nil, fmt.Errorf("key %s: %s", Shown(keyURI), withoutPIN(err.Error(), keyURI))
	}
	return &Key{key, manager}, nil
}

// readSoftKey returns the content of the file that a URI of softkms names, nil for
// other systems. The library would read a FIFO or a device without end.
func readSoftKey(u *uri.URI) ([]byte, error) {
	if u.Scheme != softkms.Scheme {
		return nil, nil
	}
	name := cmp.Or(u.Get("path"), u.Path, u.Opaque)
	data, err := regularfile.Read(name, maxKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, apiv1.NotFoundError{Message: "key not found"}
	}
	if err == nil && len(data) == 0 {
		return nil, errors.New("the file is empty")
	}
	return data, err
}

const maxKey = 1 << 20 // bytes of a key file

func makeKey(manager apiv1.KeyManager, req *apiv1.CreateKeyRequest) (crypto.Signer, error) {
	created, err := manager.CreateKey(req)
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

// Shown returns the scheme of a URI alone: the rest may hold a PIN.
func Shown(keyURI string) string {
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

// oneLine escapes what would break a line of a log.
func oneLine(s string) string {
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}
