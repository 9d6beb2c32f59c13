// Package store is the state store: what the gate has to remember and its
// replicas have to share. It is a SQLite database in a folder of its own, used
// by the gate and the command line at the same time.
//
// A write that was acknowledged survives a crash. A database newer than this
// binary knows is refused, not guessed at. Secrets never come here: of an API
// key only the digest is kept.
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
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

const fileName = "sangate.db"

//go:embed migrations/*.sql
var migrations embed.FS

// Options of a Store; the zero value works.
type Options struct {
	Logger *slog.Logger
}

// A Store is an open state store. Safe for concurrent use.
type Store struct {
	db  *sql.DB
	log *slog.Logger
}

// ErrNotFound reports a row that is not there.
var ErrNotFound = errors.New("not found")

// Open opens the store in dir, which is made where it is missing, and brings
// its schema up to date. The folder is made 0700, the file 0600.
func Open(ctx context.Context, dir string, opts Options) (*Store, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := filepath.Abs(filepath.Join(dir, fileName))
	if err != nil {
		return nil, err
	}
	// SQLite gives its -wal and -shm files the mode of the database.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(file))
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, log: opts.Logger}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, err), db.Close())
	}
	return s, nil
}

// dsn has every connection of the pool wait for locks, write ahead, and sync
// before a commit is acknowledged. Transactions take the write lock at once.
func dsn(file string) string {
	q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)"}, "_txlock": {"immediate"}}
	u := url.URL{Scheme: "file", Path: file, RawQuery: q.Encode()}
	return u.String()
}

// migrate applies what is missing. Two processes may start at once, so a
// failure counts only if the schema is not there afterwards.
func (s *Store) migrate(ctx context.Context) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.db, sub, goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	var current, target int64
	for range 20 {
		_, upErr := provider.Up(ctx)
		current, target, err = provider.GetVersions(ctx)
		switch {
		case err != nil:
			err = errors.Join(upErr, err)
		case current > target:
			return fmt.Errorf("the database has schema %d, this binary knows %d: use the newer sangate that wrote it", current, target)
		case current == target:
			return nil
		default:
			err = upErr
		}
		select { // another process is at it
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("bringing the schema from %d to %d: %w", current, target, err)
}

// Ping reports whether the store can be read now.
func (s *Store) Ping(ctx context.Context) error {
	var n int
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM api_keys WHERE id = ''").Scan(&n); err != nil {
		return fmt.Errorf("state store: %w", err)
	}
	return nil
}

// Close closes the store.
func (s *Store) Close() error { return s.db.Close() }

// Watch calls changed after every change by anybody, this process or another,
// and once after the store was out of reach, until ctx ends. A change is
// noticed within every.
func (s *Store) Watch(ctx context.Context, every time.Duration, changed func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var conn *sql.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	last, failing := int64(-1), false
	for {
		// data_version changes on a connection when another one has written;
		// this one never writes.
		version, err := dataVersion(ctx, s.db, &conn)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			failing = true
			s.log.Error("the state store is out of reach; what was read last stays in force", "err", err)
		case err == nil && (failing || version != last):
			if failing {
				s.log.Info("the state store is back")
			}
			failing, last = false, version
			changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func dataVersion(ctx context.Context, db *sql.DB, conn **sql.Conn) (v int64, err error) {
	if *conn == nil {
		if *conn, err = db.Conn(ctx); err != nil {
			*conn = nil
			return 0, err
		}
	}
	if err = (*conn).QueryRowContext(ctx, "PRAGMA data_version").Scan(&v); err != nil {
		_ = (*conn).Close()
		*conn = nil
	}
	return v, err
}
