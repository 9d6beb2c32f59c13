package credential

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // for modules that know no other OAEP
	_ "crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"

	"github.com/sangate/sangate/pki/kms"
)

// remote is an RSA key that only decrypts, where it is. What it wraps is sealed
// by a key made for that once, which is encrypted to its public half by OAEP (RFC
// 8017, section 7.1).
type remote struct {
	key    *kms.Decrypter
	public *rsa.PublicKey
}

// oaep are the hashes of OAEP, the best first; the number is what a wrapping says
// it by. Some modules, SoftHSM among them, know SHA-1 only, which OAEP can do with:
// it needs no collisions to be hard to find.
var oaep = []struct {
	number byte
	hash   crypto.Hash
}{{1, crypto.SHA256}, {2, crypto.SHA1}}

func openKMS(ctx context.Context, ref string) (KEK, error) {
	key, err := kms.OpenDecrypter(ctx, ref)
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(*rsa.PublicKey)
	if !ok || public.N.BitLen() < 2048 {
		return nil, errors.Join(errors.New("a key encryption key in a KMS is an RSA key of at least 2048 bits"), key.Close())
	}
	return &remote{key, public}, nil
}

// EncryptWithContext wraps by the first hash that the key unwraps by again.
func (k *remote) EncryptWithContext(_ context.Context, plaintext, ad []byte) ([]byte, error) {
	once := make([]byte, kekSize)
	_, _ = rand.Read(once) // never fails
	sealer, err := subtle.NewAESGCM(once)
	if err != nil {
		return nil, err
	}
	sealed, err := sealer.Encrypt(plaintext, ad)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, o := range oaep {
		wrapped, err := rsa.EncryptOAEP(o.hash.New(), rand.Reader, k.public, once, nil)
		if err == nil {
			var back []byte
			if back, err = k.unwrap(wrapped, o.hash); err == nil && bytes.Equal(back, once) {
				out := binary.BigEndian.AppendUint16([]byte{o.number}, uint16(len(wrapped)))
				return append(append(out, wrapped...), sealed...), nil
			}
		}
		errs = append(errs, fmt.Errorf("OAEP with %s: %w", o.hash, err))
	}
	return nil, fmt.Errorf("the key in the KMS does not decrypt: %w", errors.Join(errs...))
}

func (k *remote) unwrap(wrapped []byte, hash crypto.Hash) ([]byte, error) {
	return k.key.Decrypt(rand.Reader, wrapped, &rsa.OAEPOptions{Hash: hash})
}

func (k *remote) DecryptWithContext(_ context.Context, ciphertext, ad []byte) ([]byte, error) {
	bad := errors.New("it was not wrapped by this key")
	if len(ciphertext) < 3 {
		return nil, bad
	}
	n := int(binary.BigEndian.Uint16(ciphertext[1:]))
	if len(ciphertext) < 3+n {
		return nil, bad
	}
	for _, o := range oaep {
		if o.number != ciphertext[0] {
			continue
		}
		once, err := k.unwrap(ciphertext[3:3+n], o.hash)
		if err != nil {
			return nil, fmt.Errorf("the KMS does not decrypt it: %w", err)
		}
		sealer, err := subtle.NewAESGCM(once)
		if err != nil {
			return nil, bad
		}
		return sealer.Decrypt(ciphertext[3+n:], ad)
	}
	return nil, bad
}

func (k *remote) Close() error { return k.key.Close() }
