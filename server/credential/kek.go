package credential

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/sangate/sangate/pki/kms"
	"github.com/sangate/sangate/pki/ownfile"
	"github.com/sangate/sangate/pki/regularfile"
)

// A KEK is the key encryption key: it wraps the keys that secrets are sealed by,
// and is kept apart from them.
type KEK interface {
	tink.AEADWithContext
	Close() error
}

// shownKEK is a reference without the secrets that a KMS URI may hold.
func shownKEK(ref string) string {
	if strings.HasPrefix(ref, "file:") || strings.HasPrefix(ref, "env:") {
		return ref
	}
	return kms.Shown(ref)
}

const kekSize = 32 // bytes, AES-256

// ErrNoKEK reports a key encryption key that is not there.
var ErrNoKEK = errors.New("the key encryption key is not there")

// OpenKEK opens the key that ref names: "file:PATH" and "env:NAME" hold 32 bytes
// in base64; anything else is the KMS URI of an RSA key that decrypts. It warns
// of a file that others can read.
func OpenKEK(ctx context.Context, ref string, log *slog.Logger) (KEK, error) {
	scheme, rest, _ := strings.Cut(ref, ":")
	switch scheme {
	case "file":
		info, err := os.Stat(rest)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w; `sangate credential init` makes it", rest, ErrNoKEK)
		}
		if err != nil {
			return nil, err
		}
		if err := ownfile.CheckPrivate(rest, info); err != nil && info.Mode().IsRegular() {
			return nil, fmt.Errorf("key encryption key: %w", err)
		}
		if perm := info.Mode().Perm(); perm&0o077 != 0 {
			log.Warn("others can read the key encryption key", "file", rest, "mode", perm.String())
		}
		data, err := regularfile.Read(rest, maxKEK)
		if err != nil {
			return nil, err
		}
		return localKEK(data, rest)
	case "env":
		value, ok := os.LookupEnv(rest)
		if !ok {
			return nil, fmt.Errorf("environment variable %s: %w", rest, ErrNoKEK)
		}
		return localKEK([]byte(value), "environment variable "+rest)
	}
	if !kms.IsURI(ref) {
		return nil, errors.New("write kek as file:PATH, env:NAME or a KMS URI")
	}
	return openKMS(ctx, ref)
}

const maxKEK = 64 << 10 // bytes of a key file

// CreateKEK makes the key that ref names where it is a file that is not there,
// of mode 0600, and reports whether it did.
func CreateKEK(ref string) (made bool, err error) {
	file, ok := strings.CutPrefix(ref, "file:")
	if !ok {
		return false, nil
	}
	root, err := ownfile.OpenOutput(filepath.Dir(file))
	if err != nil {
		return false, err
	}
	defer root.Close()
	f, err := root.OpenFile(filepath.Base(file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	key := make([]byte, kekSize)
	_, _ = rand.Read(key) // never fails
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return false, errors.Join(err, root.Remove(filepath.Base(file)))
	}
	return true, nil
}

// local is a key that this process holds.
type local struct{ aead *subtle.AESGCM }

func localKEK(text []byte, where string) (KEK, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != kekSize {
		return nil, fmt.Errorf("%s holds no key encryption key: that is %d random bytes in base64, as `openssl rand -base64 %d` prints them", where, kekSize, kekSize)
	}
	aead, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, err
	}
	return local{aead}, nil
}

func (k local) EncryptWithContext(_ context.Context, plaintext, ad []byte) ([]byte, error) {
	return k.aead.Encrypt(plaintext, ad)
}

func (k local) DecryptWithContext(_ context.Context, ciphertext, ad []byte) ([]byte, error) {
	return k.aead.Decrypt(ciphertext, ad)
}

func (local) Close() error { return nil }
