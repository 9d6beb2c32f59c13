package pki

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/sangate/sangate/pki/regularfile"
)

// A Watcher calls back when the content behind a set of paths changes, however
// it is changed: written in place, renamed over, swapped by a symbolic link,
// deleted and made anew. It watches folders, not files, and looks at the
// content itself at every resync, so a lost event costs time and nothing else.
type Watcher struct {
	paths   func() []string
	changed func() error
	opts    WatchOptions

	fs      *fsnotify.Watcher // nil: polling only
	folders []string
	seen    [32]byte  // content at the last look
	looks   int       // in a row that each saw another content
	called  [32]byte  // content at the last call back
	failed  bool      // which returned an error
	retry   time.Time // when to try again, if it did
}

// retryShare times what a failed call back took is the pause before it is repeated, so that
// content which is slow to refuse takes a tenth of a core.
const retryShare = 10

// maxLooks bounds the wait for content that never comes to rest.
const maxLooks = 10

// WatchOptions tune a Watcher; the zero value works.
type WatchOptions struct {
	Debounce time.Duration // content must be the same for so long to count; 100 ms
	Resync   time.Duration // between looks at the content while events work; 1 s
	Poll     time.Duration // the same where events do not, or a change did not load; 1 s
	Logger   *slog.Logger
	NoNotify bool // poll only, as where inotify is exhausted
}

// NewWatcher watches paths(), files or folders, and calls changed once when Run
// starts, so that nothing is lost between the first load and Run, and then when
// their content is another than at the last call. A changed that returns an
// error is called again when Poll is over, because what did not load may be only
// not yet whole or not yet valid. Events do not hasten that: they may be its own
// doing, by a log in a watched folder.
func NewWatcher(paths func() []string, changed func() error, opts WatchOptions) *Watcher {
	if opts.Debounce <= 0 {
		opts.Debounce = 100 * time.Millisecond
	}
	if opts.Resync <= 0 {
		opts.Resync = time.Second // some changes make no event: bind mounts, NFS, a renamed grandparent
	}
	if opts.Poll <= 0 {
		opts.Poll = time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Watcher{paths: paths, changed: changed, opts: opts}
}

// Run watches until ctx ends. A receive on force (which may be nil) looks at
// once and calls back even where nothing changed: a SIGHUP.
func (w *Watcher) Run(ctx context.Context, force <-chan struct{}) {
	w.open()
	defer w.close()
	resync := time.NewTimer(w.interval())
	defer resync.Stop()
	settle := time.NewTimer(0)
	defer settle.Stop()
	pending := true // not put off by further events, or a busy folder would never settle
	for {
		var events <-chan fsnotify.Event
		var errs <-chan error
		if w.fs != nil {
			events, errs = w.fs.Events, w.fs.Errors
		}
		rest := true
		select {
		case <-ctx.Done():
			return
		case _, ok := <-events:
			if !ok {
				w.close()
			}
			rest = false
		case err, ok := <-errs:
			if !ok {
				w.close()
			}
			w.opts.Logger.Warn("file events lost, looking at the content itself", "err", err)
			rest = false
		case <-settle.C:
			pending = false
			rest = w.look(false)
			resync.Reset(w.interval())
		case <-resync.C:
			rest = false // the look that follows starts the timer again
		case <-force:
			w.look(true)
			resync.Reset(w.interval())
		}
		if !rest && !pending {
			pending = true
			settle.Reset(w.opts.Debounce)
		}
	}
}

// interval is short while events do not work or the last change did not load.
func (w *Watcher) interval() time.Duration {
	if w.fs == nil || w.failed {
		return w.opts.Poll
	}
	return w.opts.Resync
}

func (w *Watcher) open() {
	if w.opts.NoNotify {
		return
	}
	var err error
	if w.fs, err = fsnotify.NewWatcher(); err != nil {
		w.fs = nil
		w.opts.Logger.Warn("no file events here, polling instead", "every", w.opts.Poll, "err", err)
		return
	}
	w.follow()
}

func (w *Watcher) close() {
	if w.fs != nil {
		_ = w.fs.Close()
		w.fs = nil
	}
}

// look calls back if the content is new and the same at two looks in a row: a
// file seen half-written may be whole PEM all the same, with certificates
// missing at its end. It reports whether the content is at rest; if not, it
// wants to look again soon.
func (w *Watcher) look(force bool) (rest bool) {
	if w.fs != nil {
		w.follow()
	}
	digest := contentDigest(w.paths())
	if !force && digest != w.seen && w.looks < maxLooks {
		w.seen = digest
		w.looks++
		return false
	}
	w.seen, w.looks = digest, 0
	if force || w.failed && !time.Now().Before(w.retry) || digest != w.called {
		w.called = digest
		begun := time.Now()
		w.failed = w.changed() != nil
		w.retry = time.Now().Add(max(w.opts.Poll, retryShare*time.Since(begun)))
	}
	return true
}

// follow adds the folders that now lead to the paths and drops the others.
func (w *Watcher) follow() {
	folders := leadingFolders(w.paths())
	for _, dir := range folders {
		// Adding a watched folder again is cheap, and needed where it was
		// deleted and made anew under the same name.
		if err := w.fs.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.opts.Logger.Warn("cannot watch folder, polling instead", "folder", dir, "every", w.opts.Poll, "err", err)
			w.close()
			return
		}
	}
	for _, dir := range w.folders {
		if !slices.Contains(folders, dir) {
			_ = w.fs.Remove(dir)
		}
	}
	w.folders = folders
}

// leadingFolders returns every folder in which a rename, a new symbolic link or
// a write could change what a path leads to: its parent, the parent of each
// link on the way, and, where a part is missing, the last folder that is there.
func leadingFolders(paths []string) []string {
	var folders []string
	for _, path := range paths {
		abs, err := filepath.Abs(path)
		if err != nil {
			continue
		}
		for range 40 { // as many links as Linux follows
			link, target := firstLink(abs, &folders)
			if link == "" {
				break
			}
			abs = target
		}
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

// firstLink walks path from the root to its first symbolic link. It notes the
// link's folder and returns the path with the link replaced; without a link it
// notes the folder of the path and, if that is one, the path itself.
func firstLink(path string, folders *[]string) (link, resolved string) {
	dir := string(filepath.Separator)
	parts := splitPath(path)
	for i, part := range parts {
		name := filepath.Join(dir, part)
		info, err := os.Lstat(name)
		switch {
		case err != nil:
			*folders = append(*folders, dir)
			return "", ""
		case info.Mode()&fs.ModeSymlink != 0:
			*folders = append(*folders, dir)
			target, err := os.Readlink(name)
			if err != nil {
				return "", ""
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(dir, target)
			}
			return name, filepath.Join(append([]string{target}, parts[i+1:]...)...)
		case i == len(parts)-1:
			*folders = append(*folders, dir)
			if info.IsDir() {
				*folders = append(*folders, name)
			}
		}
		dir = name
	}
	return "", ""
}

func splitPath(path string) []string {
	var parts []string
	for path = filepath.Clean(path); path != string(filepath.Separator) && path != "."; path = filepath.Dir(path) {
		parts = append(parts, filepath.Base(path))
	}
	slices.Reverse(parts)
	return parts
}

// maxWatchedBytes bounds one watched file: the largest is a configuration or a CRL.
const maxWatchedBytes = 128 << 20

// contentDigest hashes names and contents of all files behind the paths; what
// cannot be read counts by its error's kind.
func contentDigest(paths []string) (sum [32]byte) {
	h := sha256.New()
	add := func(name string) {
		n, err := regularfile.Copy(h, name, maxWatchedBytes)
		fmt.Fprintf(h, "%q %d %t %t\n", name, n, err == nil, errors.Is(err, fs.ErrNotExist))
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			add(path)
			continue
		}
		entries, _ := os.ReadDir(path)
		for _, e := range entries {
			add(filepath.Join(path, e.Name()))
		}
	}
	h.Sum(sum[:0])
	return sum
}
