package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// How often, at most, look-ups see whether the file is still there, and whether
// another process has written: none is so quick that it could write, tell, and have
// somebody call within that time.
const (
	reachEvery   = 100 * time.Millisecond
	versionEvery = 500 * time.Microsecond
)

// sealedRows are credentials that were read, as they are kept: sealed. They count
// until anybody, this process or another, has written to the database.
type sealedRows struct {
	mu      sync.Mutex
	conn    *sql.Conn   // nothing is written on it, else it would not see the change
	version driver.Stmt // of the database; past database/sql, which doubles what it takes
	seen    int64
	rows    map[sealedKey]sealedRow
	reached time.Time
	asked   time.Time // for version
}

type sealedKey struct {
	id           int64
	tenant, name string
}

type sealedRow struct {
	Credential
	generation int64
}

func (c *sealedRows) open(ctx context.Context, db *sql.DB) (err error) {
	if c.conn, err = db.Conn(ctx); err != nil {
		return err
	}
	return c.conn.Raw(func(conn any) (err error) {
		c.version, err = conn.(driver.ConnPrepareContext).PrepareContext(ctx, `PRAGMA data_version`)
		return err
	})
}

// changed has the next look-up see what this process has written.
func (c *sealedRows) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = time.Time{}
}

func (c *sealedRows) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version == nil {
		return nil
	}
	err := errors.Join(c.version.Close(), c.conn.Close())
	c.version = nil
	return err
}

// dataVersion is another number once another connection has written.
func (c *sealedRows) dataVersion() (n int64, err error) {
	if c.version == nil {
		return 0, sql.ErrConnDone
	}
	err = c.conn.Raw(func(any) (err error) {
		rows, err := c.version.(driver.StmtQueryContext).QueryContext(context.Background(), nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		value := make([]driver.Value, 1)
		if err := rows.Next(value); err != nil {
			if errors.Is(err, io.EOF) {
				return errors.New("SQLite tells no version")
			}
			return err
		}
		var ok bool
		if n, ok = value[0].(int64); !ok {
			return fmt.Errorf("a version that is a %T", value[0])
		}
		return nil
	})
	return n, err
}

// look returns the row, by read where it is not known or no longer counts.
func (c *sealedRows) look(key sealedKey, reach func() error, read func() (sealedRow, error)) (sealedRow, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	begun := time.Now()
	if begun.Sub(c.reached) > reachEvery {
		if err := reach(); err != nil {
			return sealedRow{}, err
		}
		c.reached = begun
	}
	if begun.Sub(c.asked) > versionEvery {
		now, err := c.dataVersion()
		if err != nil {
			return sealedRow{}, err
		}
		if now != c.seen || c.rows == nil {
			c.seen, c.rows = now, make(map[sealedKey]sealedRow)
		}
		c.asked = begun
	}
	if row, ok := c.rows[key]; ok {
		return row, nil
	}
	row, err := read() // may be newer than now: then it is read again
	if err == nil {
		c.rows[key] = row
	}
	return row, err
}
