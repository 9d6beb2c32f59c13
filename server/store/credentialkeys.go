package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// CredentialKeys are the wrapped keys that credentials are sealed by.
type CredentialKeys struct {
	Generation int64
	Form       int64 // how keys and credentials are bound to what they belong to
	Wrapped    []byte
	KEK        string // what they are wrapped by
}

// CredentialKeys returns the keys, or [ErrNotFound].
func (s *Store) CredentialKeys(ctx context.Context) (CredentialKeys, error) {
	var k CredentialKeys
	err := s.reach()
	if err == nil {
		err = s.db.QueryRowContext(ctx, `SELECT generation, form, wrapped, kek FROM credential_keys`).Scan(&k.Generation, &k.Form, &k.Wrapped, &k.KEK)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return k, fmt.Errorf("the keys of credentials: %w", err)
	}
	return k, nil
}

// AddCredentialKeys keeps the first keys, or reports [ErrExists].
func (s *Store) AddCredentialKeys(ctx context.Context, k CredentialKeys) error {
	return s.writing(ctx, "the keys of credentials", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO credential_keys (id, generation, form, wrapped, kek) VALUES (1, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			k.Generation, k.Form, k.Wrapped, k.KEK)
		return orElse(res, err, ErrExists)
	})
}

// RewrapCredentialKeys puts the same keys, wrapped by another, in the place of
// those of that generation. It returns [ErrGeneration].
func (s *Store) RewrapCredentialKeys(ctx context.Context, k CredentialKeys) error {
	return s.writing(ctx, "the keys of credentials", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE credential_keys SET wrapped = ?, kek = ? WHERE generation = ?`, k.Wrapped, k.KEK, k.Generation)
		return orElse(res, err, ErrGeneration)
	})
}

// ReplaceCredentialKeys puts other keys in the place of those of generation
// from, and what reseal makes of each credential in its place, at once or not at
// all. It returns [ErrGeneration].
func (s *Store) ReplaceCredentialKeys(ctx context.Context, from int64, k CredentialKeys, reseal func(c Credential, place, of int) ([]byte, error)) error {
	return s.writing(ctx, "the keys of credentials", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE credential_keys SET generation = ?, form = ?, wrapped = ?, kek = ? WHERE generation = ?`,
			k.Generation, k.Form, k.Wrapped, k.KEK, from)
		if err := orElse(res, err, ErrGeneration); err != nil {
			return err
		}
		rows, err := readCredentials(tx.QueryContext(ctx, selectCredential+` ORDER BY id`))
		if err != nil {
			return err
		}
		for i, c := range rows {
			sealed, err := reseal(c, i, len(rows))
			if err != nil {
				return fmt.Errorf("credential %d: %w", c.ID, err)
			}
			if _, err := tx.ExecContext(ctx, `UPDATE credentials SET sealed = ? WHERE id = ?`, sealed, c.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

func sameGeneration(ctx context.Context, tx *sql.Tx, generation int64) error {
	var now int64
	err := tx.QueryRowContext(ctx, `SELECT generation FROM credential_keys`).Scan(&now)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("the keys of credentials: %w", ErrNotFound)
	case err == nil && now != generation:
		return ErrGeneration
	}
	return err
}
