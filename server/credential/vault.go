package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/sangate/sangate/server/store"
)

// keysetData binds a wrapped keyset to what it is for.
const keysetData = "sangate/v1|keyset"

// ErrNotInitialized reports a store without keys.
var ErrNotInitialized = errors.New("the credential store has no keys yet; `sangate credential init` makes them")

// A Vault is the encrypted store of credentials. Safe for concurrent use, by
// several processes as well.
type Vault struct {
	store *store.Store
	kek   string // where the key encryption key is
	log   *slog.Logger

	mu     sync.Mutex
	sealed *keys // unwrapped last
}

// keys are those of one generation, unwrapped.
type keys struct {
	generation int64
	handle     *keyset.Handle
	aead       tink.AEAD
}

// New makes a vault over the state store; nothing is read yet. kek is as for
// [OpenKEK].
func New(s *store.Store, kek string, log *slog.Logger) *Vault {
	return &Vault{store: s, kek: kek, log: log}
}

// Init makes the first keys, and the key encryption key where that is a file
// that is not there. It reports what it made; on a store that has keys it only
// looks whether they open.
func (v *Vault) Init(ctx context.Context) (kekMade, keysMade bool, err error) {
	_, err = v.store.CredentialKeys(ctx)
	if err == nil {
		return false, false, v.Check(ctx)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return false, false, err
	}
	if kekMade, err = CreateKEK(v.kek); err != nil {
		return false, false, err
	}
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return kekMade, false, err
	}
	first, err := v.wrap(ctx, handle, v.kek, 1)
	if err != nil {
		return kekMade, false, err
	}
	err = v.store.AddCredentialKeys(ctx, first)
	if errors.Is(err, store.ErrExists) { // another process was at it, too
		return kekMade, false, v.Check(ctx)
	}
	return kekMade, err == nil, err
}

// Check reports what keeps the keys from being opened.
func (v *Vault) Check(ctx context.Context) error {
	_, err := v.load(ctx)
	return err
}

// wrap makes a row of keys.
func (v *Vault) wrap(ctx context.Context, handle *keyset.Handle, kek string, generation int64) (store.CredentialKeys, error) {
	k, err := OpenKEK(ctx, kek, v.log)
	if err != nil {
		return store.CredentialKeys{}, err
	}
	var out bytes.Buffer
	err = handle.WriteWithContext(ctx, keyset.NewBinaryWriter(&out), k, []byte(keysetData))
	if err = errors.Join(err, k.Close()); err != nil {
		return store.CredentialKeys{}, fmt.Errorf("wrapping the keys: %w", err)
	}
	return store.CredentialKeys{Generation: generation, Wrapped: out.Bytes(), KEK: shownKEK(kek)}, nil
}

// load reads and unwraps the keys in force.
func (v *Vault) load(ctx context.Context) (*keys, error) {
	row, err := v.store.CredentialKeys(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNotInitialized
	}
	if err != nil {
		return nil, err
	}
	k, err := OpenKEK(ctx, v.kek, v.log)
	if err != nil {
		return nil, err
	}
	handle, err := keyset.ReadWithContext(ctx, keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), k, []byte(keysetData))
	if closeErr := k.Close(); err != nil {
		return nil, errors.Join(fmt.Errorf("credentials.kek (%s) does not open the credential store, which was wrapped by %s: name that one, or put the right key there (%w)", shownKEK(v.kek), row.KEK, err), closeErr)
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, err
	}
	loaded := &keys{row.Generation, handle, primitive}
	v.mu.Lock()
	v.sealed = loaded
	v.mu.Unlock()
	return loaded, nil
}

// keys returns those of a generation; 0 is whatever was unwrapped last.
func (v *Vault) keys(ctx context.Context, generation int64) (*keys, error) {
	v.mu.Lock()
	k := v.sealed
	v.mu.Unlock()
	if k != nil && (generation == 0 || k.generation == generation) {
		return k, nil
	}
	k, err := v.load(ctx)
	if err == nil && generation != 0 && k.generation != generation {
		err = store.ErrGeneration // they were replaced between row and keys: read both again
	}
	return k, err
}

// again runs do with the keys in force, once more where they were replaced
// meanwhile.
func (v *Vault) again(ctx context.Context, do func(*keys) error) error {
	k, err := v.keys(ctx, 0)
	for range 3 {
		if err == nil {
			if err = do(k); !errors.Is(err, store.ErrGeneration) {
				return err
			}
		} else if !errors.Is(err, store.ErrGeneration) {
			return err
		}
		k, err = v.load(ctx)
	}
	return err
}

// Rewrap wraps the same keys by another key encryption key, which is made where
// it is a file that is not there. Whoever has them open goes on.
func (v *Vault) Rewrap(ctx context.Context, kek string) error {
	k, err := v.load(ctx)
	if err != nil {
		return err
	}
	if _, err := CreateKEK(kek); err != nil {
		return err
	}
	row, err := v.wrap(ctx, k.handle, kek, k.generation)
	if err != nil {
		return err
	}
	return v.store.RewrapCredentialKeys(ctx, row)
}

// Rekey makes new keys and seals every credential by them, at once or not at
// all. at hears how many of them are done; it may be nil.
func (v *Vault) Rekey(ctx context.Context, at func(done, total int)) error {
	old, err := v.load(ctx)
	if err != nil {
		return err
	}
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	fresh, err := aead.New(handle)
	if err != nil {
		return err
	}
	row, err := v.wrap(ctx, handle, v.kek, old.generation+1)
	if err != nil {
		return err
	}
	return v.store.ReplaceCredentialKeys(ctx, old.generation, row, func(c store.Credential, place, of int) ([]byte, error) {
		if at != nil {
			at(place, of)
		}
		value, err := open(old, &c)
		if err != nil {
			return nil, err
		}
		return fresh.Encrypt(value, associated(&c))
	})
}

// associated binds a ciphertext to its row, tenant and version, and to what the
// secret is used as.
func associated(c *store.Credential) []byte {
	return fmt.Appendf(nil, "sangate/v1|%s|%d|%d|%s|%s", c.Tenant, c.ID, c.Version, c.Type, c.Header)
}

func open(k *keys, c *store.Credential) ([]byte, error) {
	value, err := k.aead.Decrypt(c.Sealed, associated(c))
	if err != nil {
		return nil, fmt.Errorf("credential %d does not open: its row was changed by hand, or was sealed by other keys; rotate or delete it", c.ID)
	}
	return value, nil
}
