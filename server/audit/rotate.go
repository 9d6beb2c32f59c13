package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// stampLayout is the time in a rotated file's name: audit.jsonl becomes
	// audit-20261123T080512.123456789Z.jsonl. Names sort by time.
	stampLayout = "20060102T150405.000000000Z"

	// rotateAgain is how long the file grows on after a rotation went wrong.
	rotateAgain = time.Minute
)

// full reports whether the file is to be rotated before n more bytes.
func (f *file) full(size int64, n int) bool {
	return f.max > 0 && size > 0 && size+int64(n) > f.max &&
		f.info.Mode().IsRegular() && !f.now().Before(f.retryAt)
}

// rotate moves the file aside, begins a new one, and deletes rotated ones that
// are too many. Whatever goes wrong, there is a file to write to after it.
func (f *file) rotate() error {
	stamps, err := f.stamps()
	if err == nil {
		err = f.aside(&stamps)
	}
	if err != nil {
		f.retryAt = f.now().Add(rotateAgain)
		return fmt.Errorf("%s not moved aside: %w", f.path, err)
	}
	if err := f.reopen(); err != nil {
		return fmt.Errorf("%s moved aside, but no new one made: %w", f.path, err)
	}
	var errs []error
	for _, s := range stamps[:max(0, len(stamps)-f.backups)] {
		if err := f.remove(f.backup(s)); err != nil {
			errs = append(errs, fmt.Errorf("rotated file not deleted: %w", err))
		}
	}
	return errors.Join(errs...)
}

// aside renames the file by the time, and adds its stamp. The stamp is later
// than all others, even where the clock was turned back: the oldest are deleted.
func (f *file) aside(stamps *[]string) error {
	at := f.now().UTC()
	if n := len(*stamps); n > 0 {
		if last, err := time.Parse(stampLayout, (*stamps)[n-1]); err == nil && !at.After(last) {
			at = last.Add(1)
		}
	}
	stamp := at.Format(stampLayout)
	name := f.backup(stamp)
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s is there already: move it away", name) // a rename would replace it
	}
	switch err := os.Rename(f.path, name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil // somebody else has moved it since look
	case err != nil:
		return err
	}
	*stamps = append(*stamps, stamp)
	return nil
}

// stamps returns those of the rotated files, oldest first. Nothing counts as
// one whose name is not exactly of the form.
func (f *file) stamps() ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		return nil, err
	}
	prefix, ext := f.parts()
	var stamps []string
	for _, e := range entries {
		stamp, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || !e.Type().IsRegular() {
			continue
		}
		stamp, ok = strings.CutSuffix(stamp, ext)
		if !ok {
			continue
		}
		if t, err := time.Parse(stampLayout, stamp); err == nil && t.Format(stampLayout) == stamp {
			stamps = append(stamps, stamp)
		}
	}
	slices.Sort(stamps)
	return stamps, nil
}

func (f *file) backup(stamp string) string {
	prefix, ext := f.parts()
	return filepath.Join(filepath.Dir(f.path), prefix+stamp+ext)
}

// parts are what stands before and after the stamp in a rotated file's name.
func (f *file) parts() (prefix, ext string) {
	base := filepath.Base(f.path)
	ext = filepath.Ext(base)
	return strings.TrimSuffix(base, ext) + "-", ext
}

// remove deletes a file that another process may have deleted before.
func (f *file) remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
