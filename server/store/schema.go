package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// dsn has every connection of the pool wait for locks, write ahead, and sync
// before a commit is acknowledged. Transactions take the write lock at once.
// SQLite never makes the file itself: it would be empty, and open to others.
func dsn(file string) string {
	q := url.Values{
		"mode":    {"rw"},
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)"},
	}
	u := url.URL{Scheme: "file", Path: file, RawQuery: q.Encode()}
	return u.String()
}

// migrate applies what is missing. Two processes may be at it at once: of one
// step, done twice, the second fails whole (goose_db_version_once), so a
// failure counts only if the schema is not there afterwards.
func migrate(ctx context.Context, db *sql.DB) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	for range 20 {
		var done bool
		if done, err = migrateOnce(ctx, db, sub); done {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return err
}

// migrateOnce returns done when trying again would change nothing. A provider
// makes its table once, so each attempt needs its own.
func migrateOnce(ctx context.Context, db *sql.DB, sub fs.FS) (done bool, err error) {
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub,
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return true, err
	}
	current, target, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return false, fmt.Errorf("reading the schema version: %w", err)
	case current > target:
		return true, fmt.Errorf("the database has schema %d, this binary knows %d: use the newer sangate that wrote it", current, target)
	case current == target:
		return true, nil
	}
	if _, err := p.Up(ctx); err != nil {
		return false, fmt.Errorf("bringing the schema from %d to %d: %w", current, target, err)
	}
	return true, nil
}
