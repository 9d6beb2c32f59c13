package credential

import (
	"context"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/sangate/sangate/server/store"
)

// Rewrap wraps the same keys by another key encryption key, which is made where
// it is a file that is not there. Whoever has them open goes on.
func (v *Vault) Rewrap(ctx context.Context, kek string) error {
	k, err := v.current(ctx)
	if err != nil {
		return err
	}
	if _, err := CreateKEK(kek); err != nil {
		return err
	}
	row, err := v.wrap(ctx, k.handle, kek, k.generation, k.form)
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
	return v.replace(ctx, old, at, func(_ *store.Credential, err error) error { return err })
}

// Upgrade brings a store that an older version made to the form of today, by new
// keys: what was sealed by the old ones is accepted nowhere afterwards. It does
// nothing to a store of today's form, and nothing to one without keys.
//
// A credential that does not open in the old form does not open in the new one
// either: it is left as it is and logged. One bad row must not keep the names of
// all others unbound.
func (v *Vault) Upgrade(ctx context.Context) error {
	var err error
	for range 3 {
		var old *keys
		if old, err = v.load(ctx); errors.Is(err, ErrNotInitialized) {
			return nil
		}
		if err != nil || old.form == formNamed {
			return err
		}
		err = v.replace(ctx, old, nil, func(c *store.Credential, err error) error {
			v.log.Error("a credential of an older version does not open; rotate or delete it",
				"credential", c.ID, "err", err)
			return nil
		})
		if !errors.Is(err, store.ErrGeneration) { // else another process was at it, too
			break
		}
	}
	if err != nil {
		return fmt.Errorf("sealing credentials of an older version again: %w", err)
	}
	v.log.Info("sealed the credentials of an older version again, bound to their names")
	return nil
}

// replace makes new keys in the place of old ones. shut is called for a credential
// that does not open; if it returns nil, the credential is left as it is.
func (v *Vault) replace(ctx context.Context, old *keys, at func(done, total int),
	shut func(*store.Credential, error) error) error {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	fresh, err := aead.New(handle)
	if err != nil {
		return err
	}
	row, err := v.wrap(ctx, handle, v.kek, old.generation+1, formNamed)
	if err != nil {
		return err
	}
	reseal := func(c store.Credential, place, of int) ([]byte, error) {
		if at != nil {
			at(place, of)
		}
		value, err := open(old, &c)
		if err != nil {
			return c.Sealed, shut(&c, err)
		}
		return fresh.Encrypt(value, associated(formNamed, &c))
	}
	return v.store.ReplaceCredentialKeys(ctx, old.generation, row, reseal)
}
