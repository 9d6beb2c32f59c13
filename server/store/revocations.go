package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// MaxRevocations bounds how many entries are kept.
const MaxRevocations = 100_000

// ErrFull reports that no more can be kept.
var ErrFull = errors.New("full")

// A Revocation is one line of the denylist that is kept here.
type Revocation struct {
	ID        int64
	Entry     string // as in a denylist file: "sha256:…", "san:…"
	Comment   string
	CreatedAt time.Time
	CreatedBy string
}

// AddRevocation keeps an entry and returns it with its id. One that is there
// already is returned as it is, and added is false. It returns [ErrFull].
func (s *Store) AddRevocation(ctx context.Context, r Revocation) (kept Revocation, added bool, err error) {
	if err := s.reach(); err != nil {
		return kept, false, fmt.Errorf("adding a revocation: %w", err)
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return kept, false, fmt.Errorf("adding a revocation: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing once committed
	res, err := tx.ExecContext(ctx,
		`INSERT INTO revocations (entry, comment, created_at, created_by)
		 SELECT ?1, ?2, ?3, ?4 WHERE (SELECT count(*) FROM revocations) < ?5 ON CONFLICT (entry) DO NOTHING`,
		r.Entry, r.Comment, time.Now().UnixMicro(), r.CreatedBy, MaxRevocations)
	if err != nil {
		return kept, false, fmt.Errorf("adding a revocation: %w", err)
	}
	kept, err = scanRevocation(tx.QueryRowContext(ctx, selectRevocations+` WHERE entry = ?`, r.Entry))
	if errors.Is(err, sql.ErrNoRows) {
		return kept, false, fmt.Errorf("adding a revocation: %d are there, which is the most that is kept: %w", MaxRevocations, ErrFull)
	}
	n, countErr := res.RowsAffected()
	if err = errors.Join(err, countErr); err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return kept, false, fmt.Errorf("adding a revocation: %w", err)
	}
	return kept, n == 1, nil
}

const selectRevocations = `SELECT id, entry, comment, created_at, created_by FROM revocations`

func scanRevocation(row interface{ Scan(...any) error }) (r Revocation, err error) {
	var created int64
	err = row.Scan(&r.ID, &r.Entry, &r.Comment, &created, &r.CreatedBy)
	r.CreatedAt = time.UnixMicro(created).UTC()
	return r, err
}

// Revocations returns all entries, the oldest first.
func (s *Store) Revocations(ctx context.Context) (list []Revocation, err error) {
	if err := s.reach(); err != nil {
		return nil, fmt.Errorf("reading revocations: %w", err)
	}
	rows, err := s.db.QueryContext(ctx, selectRevocations+` ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("reading revocations: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scanRevocation(rows)
		if err != nil {
			return nil, fmt.Errorf("reading revocations: %w", err)
		}
		list = append(list, r)
	}
	return list, errors.Join(rows.Err(), s.guarded(ctx))
}

// DeleteRevocation takes an entry out again and returns it, or [ErrNotFound].
func (s *Store) DeleteRevocation(ctx context.Context, id int64) (r Revocation, err error) {
	if err := s.reach(); err != nil {
		return r, fmt.Errorf("deleting revocation %d: %w", id, err)
	}
	row := s.db.QueryRowContext(ctx, `DELETE FROM revocations WHERE id = ? RETURNING id, entry, comment, created_at, created_by`, id)
	if r, err = scanRevocation(row); errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return r, fmt.Errorf("revocation %d: %w", id, err)
	}
	return r, nil
}
