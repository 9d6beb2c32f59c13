package store

import (
	"context"
	"database/sql"
	"time"
)

// Watch calls changed at the start, after every change by anybody, this process
// or another, and once after the store was out of reach, until ctx ends. A
// change is noticed within every; several may be told as one. A changed that
// returns an error is called again.
func (s *Store) Watch(ctx context.Context, every time.Duration, changed func() error) {
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
		version, err := s.dataVersion(ctx, &conn)
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
			failing = false
			if s.guarded(ctx) == nil && changed() == nil {
				last = version
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Store) dataVersion(ctx context.Context, conn **sql.Conn) (v int64, err error) {
	if err := s.replaced(); err != nil {
		return 0, err
	}
	if s.refused.Load() != nil {
		if err := s.guarded(ctx); err != nil {
			return 0, err
		}
	}
	if *conn == nil {
		if *conn, err = s.db.Conn(ctx); err != nil {
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
