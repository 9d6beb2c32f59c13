// Package store is the state store: what the gate has to remember and its
// replicas have to share. It is a SQLite database in a folder of its own, used
// by the gate and the command line at the same time.
//
// A write that was acknowledged survives a crash. A database newer than this
// binary knows is refused, not guessed at, and one that was moved or replaced
// while open is out of reach: what SQLite would go on reading is not what others
// write. Secrets never come here: of an API key only the digest is kept.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sangate/sangate/pki/ownfile"
)

const (
	fileName = "sangate.db"
	maxConns = 8 // Watch holds one, look-ups of credentials another
)

// Options of a Store; the zero value works.
type Options struct {
	Logger *slog.Logger
}

// A Store is an open state store. Safe for concurrent use.
type Store struct {
	db   *sql.DB
	log  *slog.Logger
	file string
	info fs.FileInfo // of the file that db has open

	guard   func(generation int64) error // see Guard
	refused atomic.Pointer[error]        // what guard returned last

	byID, byName *sql.Stmt // look-ups of credentials; closed with db
	sealed       sealedRows
}

// ErrNotFound reports a row that is not there.
var ErrNotFound = errors.New("not found")

// Open opens the store in dir, which is made where it is missing, and brings
// its schema up to date. A folder made here is 0700, the files are 0600. One that
// others can write to is refused ([ownfile.CheckState]): they could put another
// database in its place.
func Open(ctx context.Context, dir string, opts Options) (*Store, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if err := ownfile.MakeState(dir); err != nil {
		return nil, fmt.Errorf("state store: %w", err)
	}
	file, err := filepath.Abs(filepath.Join(dir, fileName))
	if err != nil {
		return nil, err
	}
	info, err := claim(file)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(file))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxConns)
	if err := migrate(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, err), db.Close())
	}
	s := &Store{db: db, log: opts.Logger, file: file, info: info}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, err), db.Close())
	}
	return s, nil
}

// Exists reports whether there is a store in dir.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, fileName))
	return err == nil
}

// claim makes the file where it is missing and takes it from everybody else;
// SQLite gives -wal and -shm the mode of the database.
//
// A file that is there is not opened: closing any descriptor of it gives up all
// locks this process has on it (POSIX), those of another open Store included.
func claim(file string) (fs.FileInfo, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if info, err := os.Lstat(file + suffix); err == nil {
			if err := ownfile.CheckFile(file+suffix, info); err != nil {
				return nil, err
			}
		}
	}
	info, err := os.Lstat(file)
	if err == nil {
		err = ownfile.CheckFile(file, info)
	}
	if err == nil && info.Mode().Perm() != 0o600 {
		// Through a Root a link that takes the place of the file is not followed out of the folder.
		root, openErr := os.OpenRoot(filepath.Dir(file))
		if openErr != nil {
			return nil, openErr
		}
		defer root.Close()
		err = root.Chmod(filepath.Base(file), 0o600)
	}
	return info, err
}

// reach reports a database that the guard refuses, and a file that is gone or another:
// SQLite goes on with the one it has open, and what is written there nobody sees.
func (s *Store) reach() error {
	if err := s.refused.Load(); err != nil {
		return *err
	}
	return s.replaced()
}

func (s *Store) replaced() error {
	info, err := os.Stat(s.file)
	if err == nil && !os.SameFile(info, s.info) {
		err = fmt.Errorf("%s was replaced while it was open: restart to use the new one", s.file)
	}
	return err
}

// Ping reports whether the store can be read now.
func (s *Store) Ping(ctx context.Context) error {
	var n int
	err := s.reach()
	if err == nil {
		err = s.db.QueryRowContext(ctx, "SELECT count(*) FROM api_keys WHERE id = ''").Scan(&n)
	}
	if err != nil {
		return fmt.Errorf("state store: %w", err)
	}
	return nil
}

// Close closes the store.
func (s *Store) Close() error { return errors.Join(s.sealed.close(), s.db.Close()) }
