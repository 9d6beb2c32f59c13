package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/sangate/sangate/server/store"
)

// ErrNotInitialized reports a store without keys.
var ErrNotInitialized = errors.New("the credential store has no keys yet; `sangate credential init` makes them")

// A Vault is the encrypted store of credentials. Safe for concurrent use, by
// several processes as well.
type Vault struct {
	store *store.Store
	kek   string // where the key encryption key is
	log   *slog.Logger

	floor func(name string) int64 // see Guard

	mu     sync.Mutex
	sealed *keys // unwrapped last
	newest int64 // generation of keys that was seen; it only grows
}

// keys are those of one generation, unwrapped.
type keys struct {
	generation int64
	form       int64
	handle     *keyset.Handle
	aead       tink.AEAD
}

// New makes a vault over the state store; nothing is read yet. kek is as for
// [OpenKEK].
func New(s *store.Store, kek string, log *slog.Logger) *Vault {
	return &Vault{store: s, kek: kek, log: log}
}

// The names of marks below which nothing is opened.
const (
	KeysMark   = "credentials/keys" // generation of the keys
	marksBelow = "credential/"      // versions, by id
)

// MarkOf names the mark of a credential's version.
func MarkOf(id int64) string { return marksBelow + strconv.FormatInt(id, 10) }

// IsMark reports whether a mark is one of credentials.
func IsMark(name string) bool { return name == KeysMark || strings.HasPrefix(name, marksBelow) }

// Gone is the mark of a credential that was deleted. No version reaches it, and ids
// are not given twice.
const Gone = 1 << 62

// Guard sets the marks: credentials of a lower version do not open, nor do older keys.
// It must be called before the vault is used.
func (v *Vault) Guard(floor func(name string) int64) { v.floor = floor }

// putBack returns an error for a row that is older than its mark.
func (v *Vault) putBack(c *store.Credential) error {
	if v.floor == nil {
		return nil
	}
	switch least := v.floor(MarkOf(c.ID)); {
	case least == Gone:
		return fmt.Errorf("credential %d does not open: it was deleted before, and its row put back by hand", c.ID)
	case c.Version < least:
		return fmt.Errorf("credential %d does not open: it is at version %d and was at version %d before: "+
			"an older row was put in its place; rotate it", c.ID, c.Version, least)
	}
	return nil
}

// KEK opens the key encryption key.
func (v *Vault) KEK(ctx context.Context) (KEK, error) { return OpenKEK(ctx, v.kek, v.log) }

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
	first, err := v.wrap(ctx, handle, v.kek, 1, formNamed)
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
func (v *Vault) wrap(ctx context.Context, handle *keyset.Handle, kek string, generation, form int64) (store.CredentialKeys, error) {
	k, err := OpenKEK(ctx, kek, v.log)
	if err != nil {
		return store.CredentialKeys{}, err
	}
	var out bytes.Buffer
	err = handle.WriteWithContext(ctx, keyset.NewBinaryWriter(&out), k, keysetData(form, generation))
	if err = errors.Join(err, k.Close()); err != nil {
		return store.CredentialKeys{}, fmt.Errorf("wrapping the keys: %w", err)
	}
	return store.CredentialKeys{Generation: generation, Form: form, Wrapped: out.Bytes(), KEK: shownKEK(kek)}, nil
}

// load reads and unwraps the keys in force, and keeps them if they are of today's
// form. A generation older than one that was seen before may have been read before
// it was replaced; read once more, it shows that the database went back.
func (v *Vault) load(ctx context.Context) (k *keys, err error) {
	for range 2 {
		if k, err = v.unwrap(ctx); err != nil {
			return nil, err
		}
		v.mu.Lock()
		newest := v.newest
		if v.floor != nil {
			newest = max(newest, v.floor(KeysMark))
		}
		if k.generation >= newest && k.form == formNamed {
			v.sealed, v.newest = k, k.generation
		}
		v.mu.Unlock()
		if k.generation >= newest {
			return k, nil
		}
		err = fmt.Errorf("the keys of credentials went back from generation %d to %d: "+
			"an older copy of the state database was put in its place; put the newer one back", newest, k.generation)
	}
	return nil, err
}

// unwrap reads and unwraps the keys that are in the store.
func (v *Vault) unwrap(ctx context.Context) (*keys, error) {
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
	handle, err := keyset.ReadWithContext(ctx, keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), k, keysetData(row.Form, row.Generation))
	if closeErr := k.Close(); err != nil {
		return nil, errors.Join(fmt.Errorf("credentials.kek (%s) does not open the credential store, which was wrapped by %s: "+
			"name that one, or put the right key there (%w)", shownKEK(v.kek), row.KEK, err), closeErr)
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, err
	}
	return &keys{row.Generation, row.Form, handle, primitive}, nil
}

// current is load after the keys were brought to the form of today.
func (v *Vault) current(ctx context.Context) (*keys, error) {
	k, err := v.load(ctx)
	if err != nil || k.form == formNamed {
		return k, err
	}
	if err := v.Upgrade(ctx); err != nil {
		return nil, err
	}
	if k, err = v.load(ctx); err == nil && k.form != formNamed {
		err = store.ErrGeneration
	}
	return k, err
}

// keys returns those of a generation; 0 is whatever was unwrapped last.
func (v *Vault) keys(ctx context.Context, generation int64) (*keys, error) {
	v.mu.Lock()
	k := v.sealed
	v.mu.Unlock()
	if k != nil && (generation == 0 || k.generation == generation) {
		return k, nil
	}
	k, err := v.current(ctx)
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
		k, err = v.current(ctx)
	}
	return err
}
