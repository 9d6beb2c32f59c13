package kms

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"go.step.sm/crypto/kms"
	"go.step.sm/crypto/kms/apiv1"
	"go.step.sm/crypto/kms/uri"
)

// A Decrypter is a key that decrypts, and cannot be exported.
type Decrypter struct {
	crypto.Decrypter
	manager apiv1.KeyManager
}

// Close ends the connection the key decrypts over.
func (d *Decrypter) Close() error { return d.manager.Close() }

// OpenDecrypter opens an RSA key for decryption.
func OpenDecrypter(ctx context.Context, keyURI string) (*Decrypter, error) {
	u, err := uri.Parse(keyURI)
	if err != nil {
		return nil, fmt.Errorf("key %s: not a KMS URI", Shown(keyURI))
	}
	manager, err := kms.New(ctx, apiv1.Options{Type: apiv1.Type(u.Scheme), URI: keyURI})
	if err != nil {
		return nil, fmt.Errorf("key %s: %s", Shown(keyURI), withoutPIN(err.Error(), keyURI))
	}
	var key crypto.Decrypter
	if able, ok := manager.(apiv1.Decrypter); ok {
		request := &apiv1.CreateDecrypterRequest{DecryptionKey: keyURI}
		if request.DecryptionKeyPEM, err = readSoftKey(u); err == nil {
			key, err = able.CreateDecrypter(request)
		}
	} else {
		err = errors.New("this system has no keys that decrypt")
	}
	if err != nil {
		_ = manager.Close()
		return nil, fmt.Errorf("key %s: %s", Shown(keyURI), withoutPIN(err.Error(), keyURI))
	}
	return &Decrypter{key, manager}, nil
}
