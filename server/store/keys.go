package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sangate/sangate/server/apikey"
)

// A KeyRecord is an API key as it is kept: its digest, never the key.
type KeyRecord struct {
	apikey.Entry
	Description string
	CreatedAt   time.Time
	LastUsed    time.Time // zero: never, as far as was noted
}

// AddKey keeps a new key. A second one of the same id or digest is an error.
func (s *Store) AddKey(ctx context.Context, e apikey.Entry, description string) error {
	if e.ID == "" || e.Tenant == "" || e.Digest == ([32]byte{}) {
		return errors.New("a key needs an id, a tenant and a digest")
	}
	err := s.reach()
	if err == nil {
		_, err = s.db.ExecContext(ctx, insertKey, keyColumns(e, description)...)
	}
	if err != nil {
		return fmt.Errorf("adding key %s: %w", e.ID, err)
	}
	return nil
}

// Keys returns all keys, the oldest first.
func (s *Store) Keys(ctx context.Context) (records []KeyRecord, err error) {
	if err := s.reach(); err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	rows, err := s.db.QueryContext(ctx,
		`SELECT id, tenant, digest, description, created_at, not_before, not_after, revoked_at, last_used, pin_san, pin_certificate FROM api_keys ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r := KeyRecord{Entry: apikey.Entry{Source: "store"}}
		var digest []byte
		var created, notBefore, notAfter, revoked, used sql.NullInt64
		if err := rows.Scan(&r.ID, &r.Tenant, &digest, &r.Description, &created, &notBefore, &notAfter, &revoked, &used, &r.Pin.SAN, &r.Pin.Certificate); err != nil {
			return nil, fmt.Errorf("reading keys: %w", err)
		}
		if copy(r.Digest[:], digest) != len(r.Digest) {
			return nil, fmt.Errorf("key %s: a digest of %d bytes", r.ID, len(digest))
		}
		r.CreatedAt, r.NotBefore, r.NotAfter = moment(created), moment(notBefore), moment(notAfter)
		r.RevokedAt, r.LastUsed = moment(revoked), moment(used)
		records = append(records, r)
	}
	return records, errors.Join(rows.Err(), s.guarded(ctx))
}

// RevokeKey revokes a key for good, as of at, or now where that is zero: stored,
// it would say that the key is not revoked. Revoking it again changes nothing.
// It returns [ErrNotFound].
func (s *Store) RevokeKey(ctx context.Context, id string, at time.Time) error {
	if at.IsZero() {
		at = time.Now()
	}
	if err := s.reach(); err != nil {
		return fmt.Errorf("revoking key %s: %w", id, err)
	}
	res, err := s.db.ExecContext(ctx, `UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?`, at.UnixMicro(), id)
	if err != nil {
		return fmt.Errorf("revoking key %s: %w", id, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("revoking key %s: %w", id, err)
	}
	if n == 0 {
		return fmt.Errorf("key %s: %w", id, ErrNotFound)
	}
	return nil
}

// RotateKey keeps a new key and has another end, at once or not at all. It
// returns [ErrNotFound].
func (s *Store) RotateKey(ctx context.Context, old string, end time.Time, e apikey.Entry, description string) error {
	err := s.reach()
	if err == nil {
		err = s.rotateKey(ctx, old, end, e, description)
	}
	if err != nil {
		return fmt.Errorf("rotating key %s: %w", old, err)
	}
	return nil
}

func (s *Store) rotateKey(ctx context.Context, old string, end time.Time, e apikey.Entry, description string) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing once committed
	res, err := tx.ExecContext(ctx, `UPDATE api_keys SET not_after = ? WHERE id = ? AND revoked_at IS NULL`, end.UnixMicro(), old)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrNotFound)
	}
	if _, err := tx.ExecContext(ctx, insertKey, keyColumns(e, description)...); err != nil {
		return err
	}
	return tx.Commit()
}

// NoteUse notes when keys were used last; ids that are not here are passed over.
func (s *Store) NoteUse(ctx context.Context, used map[string]time.Time) error {
	err := s.reach()
	if err == nil {
		err = s.noteUse(ctx, used)
	}
	if err != nil {
		return fmt.Errorf("noting the use of keys: %w", err)
	}
	return nil
}

func (s *Store) noteUse(ctx context.Context, used map[string]time.Time) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing once committed
	for id, at := range used {
		// Replicas note at different times: the latest stays.
		if _, err := tx.ExecContext(ctx, `UPDATE api_keys SET last_used = ?1 WHERE id = ?2 AND coalesce(last_used, 0) < ?1`, at.UnixMicro(), id); err != nil {
			return err
		}
	}
	return tx.Commit()
}

const insertKey = `INSERT INTO api_keys (id, tenant, digest, description, created_at, not_before, not_after, revoked_at, pin_san, pin_certificate) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

func keyColumns(e apikey.Entry, description string) []any {
	return []any{e.ID, e.Tenant, e.Digest[:], description, time.Now().UnixMicro(), micros(e.NotBefore), micros(e.NotAfter), micros(e.RevokedAt), e.Pin.SAN, e.Pin.Certificate}
}

func micros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

func moment(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMicro(n.Int64).UTC()
}
