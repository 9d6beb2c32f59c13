// Package standing compares the state database with its high-water mark, to detect an
// older copy of the database: one in which keys are valid that were revoked later.
//
// The database counts its own changes (see [store.Generation]). The mark is the highest
// count seen so far, in a file outside the database. A database that is behind its mark
// is refused until the newer one is back, or until an operator accepts it.
package standing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"

	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/highwater"
	"github.com/sangate/sangate/server/store"
)

// markName is the mark of the database's generation.
const markName = "state/generation"

// ErrBehind reports a database that is older than its mark, or a mark that cannot be
// relied on.
var ErrBehind = errors.New("the state database does not agree with its high-water mark")

// Options of a Keeper.
type Options struct {
	Store  *store.Store
	File   string                   // of the mark
	Vault  func() *credential.Vault // nil, or returns nil: without a key encryption key
	Logger *slog.Logger
}

func (o *Options) vault() *credential.Vault {
	if o.Vault == nil {
		return nil
	}
	return o.Vault()
}

// A Keeper keeps the mark of one database. Safe for concurrent use.
type Keeper struct {
	opts Options
	file *highwater.File

	mu      sync.Mutex
	problem error // that kept the mark from being verified or written last
}

// Open reads the mark and refuses a database that is behind it, with an error that wraps
// [ErrBehind]. A mark that cannot be verified or written is logged and reported by
// [Keeper.Problem], and does not prevent a start: it only lags.
func Open(ctx context.Context, opts Options) (*Keeper, error) {
	f, err := highwater.Open(opts.File)
	if err != nil {
		return nil, refuse("it cannot be read: %w", err)
	}
	k := &Keeper{opts: opts, file: f}
	g, err := opts.Store.Generation(ctx)
	if err != nil {
		return nil, err
	}
	if err := k.unlock(ctx); err != nil {
		return nil, err
	}
	if err := compare(f, g); err != nil {
		return nil, err
	}
	if f.Locked() {
		opts.Logger.Error("high-water mark not verified", "file", f.Name(), "err", k.Problem())
		return k, nil
	}
	k.Raise(ctx)
	return k, nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format+". Put the newer one back; if you restored a backup or moved the mark on purpose, "+
		"run `sangate state accept --config FILE`", append([]any{ErrBehind}, args...)...)
}

func olderCopy(generation int64, mark *big.Int) error {
	return refuse("the database is at generation %d and was at %d before, so an older copy was put in its place",
		generation, mark)
}

// Look refuses a database that is behind its mark, without verifying the mark and
// without changing it: for commands that use the database.
func Look(ctx context.Context, s *store.Store, file string) error {
	f, err := highwater.Open(file)
	if err != nil {
		return refuse("it cannot be read: %w", err)
	}
	g, err := s.Generation(ctx)
	if err != nil {
		return err
	}
	return compare(f, g)
}

func compare(f *highwater.File, g store.Generation) error {
	mark := f.Mark(markName)
	switch {
	case f.Missing() && g.Marked != store.Unmarked:
		return refuse("%s is missing", f.Name())
	case !f.Missing() && g.Marked == store.MarkedSealed && !f.Sealed():
		return refuse("%s had a proof and has none now", f.Name())
	case mark.Cmp(big.NewInt(g.Number)) > 0:
		return olderCopy(g.Number, mark)
	}
	return nil
}

// unlock verifies the mark by the key encryption key, if there is one.
func (k *Keeper) unlock(ctx context.Context) error {
	if !k.file.Sealed() {
		return nil
	}
	vault := k.opts.vault()
	if vault == nil {
		k.note(errors.New("it was sealed by a key encryption key, and the configuration has no credentials.kek"))
		return nil
	}
	kek, err := vault.KEK(ctx)
	if err != nil {
		k.note(err)
		return nil
	}
	err = k.file.Unlock(ctx, kek)
	if err == nil && vault.Check(ctx) == nil { // it is the one that the keys are wrapped by
		err = k.file.Only(ctx, kek)
	}
	if err = errors.Join(err, kek.Close()); errors.Is(err, highwater.ErrProof) {
		return refuse("%w", err)
	}
	k.note(err)
	return nil
}

// seal adds a proof to the mark once the store has keys that a key encryption key wraps.
func (k *Keeper) seal(ctx context.Context) error {
	vault := k.opts.vault()
	if k.file.Sealed() || vault == nil {
		return nil
	}
	switch _, err := k.opts.Store.CredentialKeys(ctx); {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	kek, err := vault.KEK(ctx)
	if err != nil {
		return err
	}
	return errors.Join(k.file.Seal(ctx, kek), kek.Close())
}

// Judge is for [store.Store.Guard]. It loads a mark that an operator has reset.
func (k *Keeper) Judge(generation int64) error {
	n := big.NewInt(generation)
	mark := k.file.Mark(markName)
	if mark.Cmp(n) > 0 {
		_ = k.file.Refresh() // if it fails, the mark known so far counts
		mark = k.file.Mark(markName)
	}
	if mark.Cmp(n) > 0 {
		return olderCopy(generation, mark)
	}
	return nil
}

// Floor is for [credential.Vault.Guard].
func (k *Keeper) Floor(name string) int64 {
	if n := k.file.Mark(name); n.IsInt64() {
		return n.Int64()
	}
	return credential.Gone
}

// Raise raises the marks to the committed state of the database. A failure is logged
// once and reported by [Keeper.Problem].
func (k *Keeper) Raise(ctx context.Context) {
	err := k.raise(ctx)
	if before := k.note(err); err != nil && (before == nil || before.Error() != err.Error()) {
		k.opts.Logger.Error("failed to raise the high-water mark", "file", k.file.Name(), "err", err)
	}
}

func (k *Keeper) raise(ctx context.Context) error {
	if k.file.Locked() {
		if err := k.unlock(ctx); err != nil {
			return err
		}
		if k.file.Locked() {
			return k.Problem()
		}
	}
	if err := k.seal(ctx); err != nil {
		return err
	}
	g, marks, err := marksOf(ctx, k.opts.Store, k.file.Marks())
	if err != nil {
		return err
	}
	if err := compare(k.file, g); err != nil && !k.file.Missing() {
		return err
	}
	if err := k.file.Raise(marks); err != nil {
		return err
	}
	return noteMarked(ctx, k.opts.Store, k.file, g)
}

func noteMarked(ctx context.Context, s *store.Store, f *highwater.File, g store.Generation) error {
	want := store.Marked
	if f.Sealed() {
		want = store.MarkedSealed
	}
	if g.Marked == want {
		return nil
	}
	return s.SetMarked(ctx, want)
}

// marksOf returns the marks of the database as it is. Credentials that have a mark in
// before and are missing were deleted.
func marksOf(ctx context.Context, s *store.Store, before map[string]*big.Int) (
	g store.Generation, marks map[string]*big.Int, err error) {
	if g, err = s.Generation(ctx); err != nil {
		return g, nil, err
	}
	marks = map[string]*big.Int{markName: big.NewInt(g.Number)}
	if old := before[markName]; old != nil && old.Int64() == g.Number {
		return g, marks, nil // nothing was changed since
	}
	keys, err := s.CredentialKeys(ctx)
	if err == nil {
		marks[credential.KeysMark] = big.NewInt(keys.Generation)
	} else if !errors.Is(err, store.ErrNotFound) {
		return g, nil, err
	}
	list, err := s.Credentials(ctx)
	if err != nil {
		return g, nil, err
	}
	for _, c := range list {
		marks[credential.MarkOf(c.ID)] = big.NewInt(c.Version)
	}
	for name := range before {
		if _, there := marks[name]; !there && name != credential.KeysMark && credential.IsMark(name) {
			marks[name] = big.NewInt(credential.Gone)
		}
	}
	// An older copy, put in place since, must not mark a credential as deleted.
	if now, err := s.Generation(ctx); err != nil || now.Number < g.Number {
		return g, nil, errors.Join(ErrBehind, err)
	}
	return g, marks, nil
}

// Problem returns what kept the mark from being verified or written last.
func (k *Keeper) Problem() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.problem
}

func (k *Keeper) note(err error) (before error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, k.problem = k.problem, err
	return before
}
