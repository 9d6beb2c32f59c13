package store

import (
	"context"
	"fmt"
)

// The marks of a database, as noted in the database itself.
const (
	Unmarked     = 0
	Marked       = 1 // a mark was kept
	MarkedSealed = 2 // one that a key proves
)

// A Generation is how far the database has come.
type Generation struct {
	Number int64 // raised by every change of keys, revocations and credentials
	Marked int   // what was kept of it outside the database
}

// Generation returns how far the database has come, also while a guard refuses it.
func (s *Store) Generation(ctx context.Context) (g Generation, err error) {
	if err = s.replaced(); err == nil {
		err = s.db.QueryRowContext(ctx, `SELECT generation, marked FROM state_generation`).Scan(&g.Number, &g.Marked)
	}
	if err != nil {
		return g, fmt.Errorf("the generation of the state database: %w", err)
	}
	return g, nil
}

// SetMarked notes what is kept of the generation outside the database. That is no
// change that raises it.
func (s *Store) SetMarked(ctx context.Context, marked int) error {
	err := s.replaced()
	if err == nil {
		_, err = s.db.ExecContext(ctx, `UPDATE state_generation SET marked = ?`, marked)
	}
	if err != nil {
		return fmt.Errorf("noting the mark of the state database: %w", err)
	}
	return nil
}

// Guard sets a function that is called with the generation after keys or revocations were
// read, and after each change that [Store.Watch] notices. While it returns an error, all
// other methods return that error: the database is neither read nor written. Guard must
// be called before the store is shared.
func (s *Store) Guard(judge func(generation int64) error) { s.guard = judge }

// Refused returns the error of the guard, if it refuses the database now.
func (s *Store) Refused() error {
	if err := s.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// guarded asks the guard.
func (s *Store) guarded(ctx context.Context) error {
	if s.guard == nil {
		return nil
	}
	g, err := s.Generation(ctx)
	if err != nil {
		return err
	}
	if err := s.guard(g.Number); err != nil {
		if s.refused.Swap(&err) == nil {
			s.log.Error("the state database is refused; what was read last stays in force", "err", err)
		}
		return err
	}
	if s.refused.Swap(nil) != nil {
		s.log.Info("the state database is accepted again", "generation", g.Number)
	}
	return nil
}
