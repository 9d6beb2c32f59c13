package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	defaultMaxSize = 100 << 20
	defaultBackups = 10

	tellEvery = time.Minute // at most, of what is missing
	maxPooled = 16 << 10    // bytes of a buffer that is kept for the next line
)

// Options say where records go. The zero value of all but File is good.
type Options struct {
	File    string           // its folder must exist; "-" is standard output
	MaxSize int64            // bytes at which the file is rotated; 0: 100 MiB, below 0: never
	Backups int              // rotated files that are kept; 0: 10
	Logger  *slog.Logger     // told at most once a minute of what is missing
	OnError func(error)      // called for each record that is not in the file; for a metric
	Stdout  io.Writer        // what "-" is; nil: os.Stdout
	Now     func() time.Time // nil: time.Now
}

// A Log writes records. A nil *Log discards them. It is safe for concurrent
// use, and starts no goroutine.
type Log struct {
	opts Options

	mu      sync.Mutex
	out     sink
	closed  bool
	missing int       // records not told of yet
	last    error     // why the last of them is missing
	told    time.Time // when

	often often
}

// A sink is where lines go. A line comes with a newline before it, too, which
// is written only where the line before has none.
type sink interface {
	write(line []byte) (aside, err error) // aside: what else went wrong; the line is written
	reopen() error
	close() error
}

// Open opens the file for appending, or makes it with mode 0600. The mode of a
// file that is there is left as it is.
func Open(opts Options) (*Log, error) {
	switch {
	case opts.File == "":
		return nil, errors.New(`audit: no file is named: name one, or "-" for standard output`)
	case opts.Backups < 0:
		return nil, fmt.Errorf("audit: %d backups cannot be kept: name 1 or more", opts.Backups)
	}
	opts.MaxSize = cmp.Or(opts.MaxSize, defaultMaxSize)
	opts.Backups = cmp.Or(opts.Backups, defaultBackups)
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.OnError == nil {
		opts.OnError = func(error) {}
	}
	if opts.File == "-" {
		if opts.Stdout == nil {
			opts.Stdout = os.Stdout
		}
		return &Log{opts: opts, out: &stream{w: opts.Stdout}}, nil
	}
	path, err := filepath.Abs(opts.File)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	f := &file{path: path, max: opts.MaxSize, backups: opts.Backups, now: opts.Now}
	if err := f.reopen(); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return &Log{opts: opts, out: f}, nil
}

// lines holds buffers; each begins with a newline, see sink.
var lines = sync.Pool{New: func() any { return bytes.NewBufferString("\n") }}

// Write adds a record, as one line by one write to the file. It waits for the
// disk (or for who reads standard output) and for nothing else. The record is
// not kept, nor changed. Where it cannot be written, OnError is called, and the
// next one is tried anew.
func (l *Log) Write(r *Record) {
	if l == nil {
		return
	}
	buf := lines.Get().(*bytes.Buffer)
	err := r.appendTo(buf, l.opts.Now)
	var aside error
	l.mu.Lock()
	switch {
	case err != nil:
	case l.closed:
		err = fmt.Errorf("audit: written to after Close: %w", os.ErrClosed)
	default:
		if aside, err = l.out.write(buf.Bytes()); err != nil {
			err = fmt.Errorf("audit: %w", err)
		}
	}
	missing, last := l.count(err, false)
	l.mu.Unlock()
	if buf.Cap() <= maxPooled {
		buf.Truncate(1)
		lines.Put(buf)
	}
	if aside != nil {
		l.opts.Logger.Error("audit file not rotated as it should be, records are written all the same", "err", aside)
	}
	l.tell(missing, last)
	if err != nil {
		l.opts.OnError(err)
	}
}

// count notes a record that is missing, and returns how many there are to tell
// of: all since the last time, where that is a minute ago or now is set.
// Callers hold mu.
func (l *Log) count(err error, now bool) (missing int, last error) {
	if err != nil {
		l.missing++
		l.last = err
	}
	if l.missing == 0 {
		return 0, nil
	}
	at := l.opts.Now()
	if !now && !l.told.IsZero() && at.Sub(l.told) < tellEvery {
		return 0, nil
	}
	missing, last = l.missing, l.last
	l.missing, l.last, l.told = 0, nil, at
	return missing, last
}

func (l *Log) tell(missing int, last error) {
	if missing > 0 {
		l.opts.Logger.Error("audit records are missing in the file", "records", missing, "file", l.opts.File, "err", last)
	}
}

// Reopen opens the file of the name again, or makes it: call it after something
// else moved the file away, such as logrotate. On an error the file that was
// open stays in use. Without Reopen a file that was moved or removed is found
// out at the next Write.
func (l *Log) Reopen() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := os.ErrClosed
	if !l.closed {
		err = l.out.reopen()
	}
	if err != nil {
		return fmt.Errorf("audit: not reopened: %w", err)
	}
	return nil
}

// Close forces the file to the disk and closes it; standard output stays open.
// Records that come later are missing.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.flushAll()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	err := l.out.close()
	missing, last := l.count(nil, true)
	l.mu.Unlock()
	l.tell(missing, last)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}
