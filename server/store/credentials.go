package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// MaxCredentials bounds how many are kept.
const MaxCredentials = 100_000

// Errors of credentials.
var (
	// ErrExists reports a name that the tenant has already.
	ErrExists = errors.New("there is one of this name already")
	// ErrVersion reports a row that is at another version by now.
	ErrVersion = errors.New("it has been changed since")
	// ErrGeneration reports that other keys are in force by now.
	ErrGeneration = errors.New("the keys have been replaced")
)

// A Credential is a secret as it is kept: sealed, by whom is not known here.
type Credential struct {
	ID          int64
	Tenant      string // "": nobody's in particular
	Name        string
	Description string
	Type        string
	Header      string
	Version     int64
	Sealed      []byte
	CreatedAt   time.Time
	CreatedBy   string
	UpdatedAt   time.Time
}

const selectCredential = `SELECT id, tenant, name, description, type, header, version, sealed, created_at, created_by, updated_at FROM credentials`

func scanCredential(row interface{ Scan(...any) error }) (c Credential, err error) {
	var created, updated int64
	err = row.Scan(&c.ID, &c.Tenant, &c.Name, &c.Description, &c.Type, &c.Header, &c.Version, &c.Sealed, &created, &c.CreatedBy, &updated)
	c.CreatedAt, c.UpdatedAt = time.UnixMicro(created).UTC(), time.UnixMicro(updated).UTC()
	return c, err
}

// AddCredential keeps a new one and returns it with its id, at version 1. seal is
// called with it, by keys of the given generation. It returns [ErrExists],
// [ErrFull] and [ErrGeneration].
func (s *Store) AddCredential(ctx context.Context, c Credential, generation int64, seal func(Credential) ([]byte, error)) (Credential, error) {
	err := s.writing(ctx, "adding a credential", func(tx *sql.Tx) error {
		if err := sameGeneration(ctx, tx, generation); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM credentials WHERE tenant = ? AND name = ?`, c.Tenant, c.Name).Scan(&n); err != nil {
			return err
		} else if n > 0 {
			return ErrExists
		}
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM credentials`).Scan(&n); err != nil {
			return err
		} else if n >= MaxCredentials {
			return ErrFull
		}
		now := time.Now().UnixMicro()
		res, err := tx.ExecContext(ctx, `INSERT INTO credentials (tenant, name, description, type, header, version, sealed, created_at, created_by, updated_at) VALUES (?, ?, ?, ?, ?, 1, x'', ?, ?, ?)`,
			c.Tenant, c.Name, c.Description, c.Type, c.Header, now, c.CreatedBy, now)
		if err != nil {
			return err
		}
		if c.ID, err = res.LastInsertId(); err != nil {
			return err
		}
		c.Version, c.CreatedAt, c.UpdatedAt = 1, time.UnixMicro(now).UTC(), time.UnixMicro(now).UTC()
		if c.Sealed, err = seal(c); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE credentials SET sealed = ? WHERE id = ?`, c.Sealed, c.ID)
		return err
	})
	return c, err
}

// UpdateCredential seals another value at the next version, where the row is at
// the expected one; 0 is any. It returns [ErrNotFound], [ErrVersion] and
// [ErrGeneration].
func (s *Store) UpdateCredential(ctx context.Context, id, expected, generation int64, seal func(Credential) ([]byte, error)) (c Credential, err error) {
	err = s.writing(ctx, fmt.Sprintf("credential %d", id), func(tx *sql.Tx) error {
		if err := sameGeneration(ctx, tx, generation); err != nil {
			return err
		}
		if c, err = credentialAt(ctx, tx, id, expected); err != nil {
			return err
		}
		c.Version++
		now := time.Now().UnixMicro()
		c.UpdatedAt = time.UnixMicro(now).UTC()
		if c.Sealed, err = seal(c); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE credentials SET version = ?, sealed = ?, updated_at = ? WHERE id = ?`, c.Version, c.Sealed, now, id)
		return err
	})
	return c, err
}

// DeleteCredential takes one out, where it is at the expected version; 0 is any.
// It returns [ErrNotFound] and [ErrVersion].
func (s *Store) DeleteCredential(ctx context.Context, id, expected int64) (c Credential, err error) {
	err = s.writing(ctx, fmt.Sprintf("credential %d", id), func(tx *sql.Tx) error {
		if c, err = credentialAt(ctx, tx, id, expected); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM credentials WHERE id = ?`, id)
		return err
	})
	return c, err
}

// credentialAt returns one that is at the expected version; 0 is any.
func credentialAt(ctx context.Context, tx *sql.Tx, id, expected int64) (Credential, error) {
	c, err := scanCredential(tx.QueryRowContext(ctx, selectCredential+` WHERE id = ?`, id))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = ErrNotFound
	case err == nil && expected != 0 && expected != c.Version:
		err = fmt.Errorf("%w: it is at version %d", ErrVersion, c.Version)
	}
	return c, err
}

// Credential returns one with the generation of the keys in force. It returns
// [ErrNotFound].
func (s *Store) Credential(_ context.Context, id int64) (Credential, int64, error) {
	c, generation, err := s.credential(sealedKey{id: id}, s.byID, id)
	if err != nil {
		err = fmt.Errorf("credential %d: %w", id, err)
	}
	return c, generation, err
}

// CredentialNamed is [Store.Credential] by tenant and name.
func (s *Store) CredentialNamed(_ context.Context, tenant, name string) (Credential, int64, error) {
	c, generation, err := s.credential(sealedKey{tenant: tenant, name: name}, s.byName, tenant, name)
	if err != nil {
		err = fmt.Errorf("credential %q of tenant %q: %w", name, tenant, err)
	}
	return c, generation, err
}

func (s *Store) credential(key sealedKey, look *sql.Stmt, args ...any) (Credential, int64, error) {
	row, err := s.sealed.look(key, s.reach, func() (c sealedRow, err error) {
		var created, updated int64
		err = look.QueryRowContext(context.Background(), args...).Scan(&c.ID, &c.Tenant, &c.Name, &c.Description, &c.Type, &c.Header, &c.Version, &c.Sealed, &created, &c.CreatedBy, &updated, &c.generation)
		if errors.Is(err, sql.ErrNoRows) {
			err = ErrNotFound
		}
		c.CreatedAt, c.UpdatedAt = time.UnixMicro(created).UTC(), time.UnixMicro(updated).UTC()
		return c, err
	})
	return row.Credential, row.generation, err
}

// prepare readies the look-ups of every call: parsed each time they would take
// four times as long.
func (s *Store) prepare(ctx context.Context) (err error) {
	const look = `SELECT c.id, tenant, name, description, type, header, version, sealed, created_at, created_by, updated_at, generation
		FROM credentials c, credential_keys k WHERE `
	if s.byID, err = s.db.PrepareContext(ctx, look+`c.id = ?`); err != nil {
		return err
	}
	if s.byName, err = s.db.PrepareContext(ctx, look+`tenant = ? AND name = ?`); err != nil {
		return err
	}
	return s.sealed.open(ctx, s.db)
}

// Credentials returns all, by id.
func (s *Store) Credentials(ctx context.Context) ([]Credential, error) {
	err := s.reach()
	var list []Credential
	if err == nil {
		list, err = readCredentials(s.db.QueryContext(ctx, selectCredential+` ORDER BY id`))
	}
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	return list, nil
}

func readCredentials(rows *sql.Rows, err error) (list []Credential, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		c, err := scanCredential(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// orElse is what a statement that had to change one row came to.
func orElse(res sql.Result, err, none error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		err = none
	}
	return err
}

// writing runs do in a transaction, and names what it was about in its error.
func (s *Store) writing(ctx context.Context, what string, do func(*sql.Tx) error) error {
	err := s.reach()
	if err == nil {
		err = func() error {
			tx, err := s.db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }() // does nothing once committed
			if err := do(tx); err != nil {
				return err
			}
			defer s.sealed.changed()
			return tx.Commit()
		}()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
