package standing

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/highwater"
	"github.com/sangate/sangate/server/store"
)

// A Change is the result of [Accept].
type Change struct {
	Before *big.Int // the mark; 0: there was none
	After  int64
	Sealed bool // the mark has a proof
}

// Accept sets the marks of the database to its present state, also to lower ones. Other
// marks in the same file stay.
func Accept(ctx context.Context, opts Options) (c Change, err error) {
	f, err := highwater.Open(opts.File)
	if err != nil {
		opts.Logger.Warn("the high-water mark cannot be read and is replaced", "err", err)
		f = highwater.Fresh(opts.File)
	}
	g, marks, err := marksOf(ctx, opts.Store, nil)
	if err != nil {
		return c, err
	}
	c = Change{Before: f.Mark(markName), After: g.Number}
	kek, err := sealer(ctx, opts, f)
	if err != nil {
		return c, err
	}
	var wrapper highwater.Wrapper
	if kek != nil {
		defer func() { err = errors.Join(err, kek.Close()) }()
		wrapper = kek
	}
	if err := f.Reset(ctx, wrapper, isOurs, marks); err != nil {
		return c, err
	}
	c.Sealed = f.Sealed()
	return c, noteMarked(ctx, opts.Store, f, g)
}

func isOurs(name string) bool { return name == markName || credential.IsMark(name) }

// sealer returns the key that the marks are to be sealed by, or nil for none. If it
// opens the marks that are there, their key stays.
func sealer(ctx context.Context, opts Options, f *highwater.File) (credential.KEK, error) {
	vault := opts.vault()
	if vault == nil {
		return nil, nil
	}
	_, err := opts.Store.CredentialKeys(ctx)
	if errors.Is(err, store.ErrNotFound) && !f.Sealed() {
		return nil, nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	kek, err := vault.KEK(ctx)
	if err != nil {
		return nil, err
	}
	if f.Sealed() {
		if err := f.Unlock(ctx, kek); err != nil {
			opts.Logger.Warn("high-water mark without a valid proof of this key encryption key; making a new proof", "err", err)
		}
	}
	return kek, nil
}

// Rewrap has another key encryption key open the mark as well: before the keys of
// credentials are wrapped by it.
func Rewrap(ctx context.Context, opts Options, to string) error {
	f, err := highwater.Open(opts.File)
	if err != nil || !f.Sealed() {
		return err
	}
	kek, err := opts.vault().KEK(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Unlock(ctx, kek), kek.Close()); err != nil {
		return fmt.Errorf("%w; `sangate state accept` gives it a new one", err)
	}
	other, err := credential.OpenKEK(ctx, to, opts.Logger)
	if err != nil {
		return err
	}
	return errors.Join(f.Rewrap(ctx, other), other.Close())
}
