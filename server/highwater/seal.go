package highwater

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/big"
)

// keyData binds the wrapped key of a proof to what it is for.
const keyData = "sangate/v1|high-water marks"

// A Wrapper encrypts and decrypts by the key encryption key.
type Wrapper interface {
	EncryptWithContext(ctx context.Context, plaintext, associated []byte) ([]byte, error)
	DecryptWithContext(ctx context.Context, ciphertext, associated []byte) ([]byte, error)
}

// Unlock verifies the proof. It returns [ErrProof] if the marks were changed without
// the key, or if the key was wrapped by another key encryption key.
func (f *File) Unlock(ctx context.Context, kek Wrapper) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	key, err := f.have.unwrap(ctx, kek)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", f.name, ErrProof, err)
	}
	if !hmac.Equal(f.have.Proof, f.have.prove(key)) {
		return fmt.Errorf("%s: %w: it was changed by hand", f.name, ErrProof)
	}
	f.setKey(key)
	return nil
}

func (f *File) setKey(key []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key = key
}

func (c *content) unwrap(ctx context.Context, kek Wrapper) (key []byte, err error) {
	err = errors.New("it has no key")
	for _, wrapped := range c.Keys {
		if key, err = kek.DecryptWithContext(ctx, wrapped, []byte(keyData)); err == nil {
			return key, nil
		}
	}
	return nil, err
}

// Seal adds a proof to marks without one, by a new key that is wrapped by kek.
func (f *File) Seal(ctx context.Context, kek Wrapper) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.seal(ctx, kek, func(*content) {})
}

func (f *File) seal(ctx context.Context, kek Wrapper, edit func(*content)) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	wrapped, err := kek.EncryptWithContext(ctx, key, []byte(keyData))
	if err != nil {
		return fmt.Errorf("sealing high-water marks: %w", err)
	}
	unlock, err := lock(f.name + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if other, err := f.load(); err == nil && other.sealed() && !f.have.sealed() {
		return fmt.Errorf("%s was sealed by another process at the same time: start again", f.name)
	}
	next := f.have
	next.Marks, next.Keys = maps.Clone(f.have.Marks), [][]byte{wrapped}
	edit(&next)
	old := f.key
	f.setKey(key)
	if err := f.write(&next); err != nil {
		f.setKey(old)
		return err
	}
	return nil
}

// Rewrap has another key encryption key open the marks as well, from now on. The marks
// must be unlocked.
func (f *File) Rewrap(ctx context.Context, kek Wrapper) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.key == nil {
		return ErrLocked
	}
	wrapped, err := kek.EncryptWithContext(ctx, f.key, []byte(keyData))
	if err != nil {
		return fmt.Errorf("wrapping the key of high-water marks: %w", err)
	}
	return f.change(func(c *content) error {
		c.Keys = append([][]byte{wrapped}, c.Keys...)
		c.Keys = c.Keys[:min(len(c.Keys), maxSealed)]
		return nil
	})
}

// Only leaves the wrapping that kek opens and drops those by other keys.
func (f *File) Only(ctx context.Context, kek Wrapper) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.key == nil || len(f.have.Keys) < 2 {
		return nil
	}
	return f.change(func(c *content) error {
		for _, wrapped := range c.Keys {
			if _, err := kek.DecryptWithContext(ctx, wrapped, []byte(keyData)); err == nil {
				c.Keys = [][]byte{wrapped}
				return nil
			}
		}
		return nil
	})
}

// Reset replaces the marks whose names owned reports, also by lower ones: for an operator
// who restored a backup. If the file is locked or has no proof, it gets a new key, which
// kek wraps; with a nil kek it gets none. Other processes load the result in [File.Refresh].
func (f *File) Reset(ctx context.Context, kek Wrapper, owned func(name string) bool, marks map[string]*big.Int) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	edit := func(c *content) {
		c.Version, c.Epoch = 1, c.Epoch+1
		maps.DeleteFunc(c.Marks, func(name string, _ *big.Int) bool { return owned(name) })
		maps.Copy(c.Marks, marks)
	}
	if f.key != nil { // processes that have the file open keep the key
		return f.change(func(c *content) error { edit(c); return nil })
	}
	if kek != nil {
		return f.seal(ctx, kek, edit)
	}
	unlock, err := lock(f.name + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	next := f.have
	next.Marks, next.Keys = maps.Clone(f.have.Marks), nil
	edit(&next)
	return f.write(&next)
}
