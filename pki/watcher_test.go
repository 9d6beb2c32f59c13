package pki

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// bound is what the contract gives a whole change to be in force.
const bound = 2 * time.Second

// A rig is a gate's files, a Source on them, and a Watcher that runs.
type rig struct {
	dir      string // holds live/, where the files are
	files    Files
	src      *Source
	failures atomic.Int64 // reloads that did not load
	calls    atomic.Int64
	ca       *pkitest.CA
	old, new *pkitest.Cert
	force    chan struct{}
}

// newRig writes the old certificate with lay and starts watching.
func newRig(t *testing.T, opts WatchOptions, lay func(t *testing.T, r *rig)) *rig {
	t.Helper()
	ca := pkitest.NewCA(t, "ca")
	r := &rig{dir: t.TempDir(), ca: ca, old: ca.Issue(t, pkitest.Leaf{}), new: ca.Issue(t, pkitest.Leaf{}), force: make(chan struct{})}
	if lay == nil {
		lay = layPlain
	}
	lay(t, r)
	live := filepath.Join(r.dir, "live")
	r.files = Files{Cert: filepath.Join(live, "server.crt"), Key: filepath.Join(live, "server.key"), ClientCA: []string{filepath.Join(live, "roots.pem")}}
	var err error
	if r.src, err = NewSource(r.files.Load); err != nil {
		t.Fatal(err)
	}
	w := NewWatcher(r.files.Paths, func() error {
		_, err := r.src.Reload()
		if err != nil {
			r.failures.Add(1)
		}
		r.calls.Add(1)
		return err
	}, opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx, r.force) }()
	t.Cleanup(func() { cancel(); <-done })
	r.until(t, "the first look", func() bool { return r.calls.Load() > 0 })
	return r
}

// put writes a version of all three files into dir.
func (r *rig) put(t *testing.T, dir string, c *pkitest.Cert) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, dir, c.CertPEM(), c.KeyPEM(t), r.ca.PEM())
}

func layPlain(t *testing.T, r *rig) { r.put(t, filepath.Join(r.dir, "live"), r.old) }

// layKubernetes is a mounted secret: live/<file> → ..data/<file>, ..data → ..v1.
func layKubernetes(t *testing.T, r *rig) {
	live := filepath.Join(r.dir, "live")
	r.put(t, filepath.Join(live, "..v1"), r.old)
	must(t, os.Symlink("..v1", filepath.Join(live, "..data")))
	for _, name := range []string{"server.crt", "server.key", "roots.pem"} {
		must(t, os.Symlink(filepath.Join("..data", name), filepath.Join(live, name)))
	}
}

// layVersions is one link before the folder: live → v1.
func layVersions(t *testing.T, r *rig) {
	r.put(t, filepath.Join(r.dir, "v1"), r.old)
	must(t, os.Symlink("v1", filepath.Join(r.dir, "live")))
}

// layFarLinks has links of links in other folders: live → far/a → ../v1.
func layFarLinks(t *testing.T, r *rig) {
	r.put(t, filepath.Join(r.dir, "v1"), r.old)
	must(t, os.Mkdir(filepath.Join(r.dir, "far"), 0o700))
	must(t, os.Symlink("../v1", filepath.Join(r.dir, "far", "a")))
	must(t, os.Symlink("far/a", filepath.Join(r.dir, "live")))
}

func (r *rig) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(bound)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", bound, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (r *rig) inForce(c *pkitest.Cert) bool {
	return bytes.Equal(r.src.Snapshot().Certificate.Leaf.Raw, c.Leaf.Raw)
}

func (r *rig) wantNew(t *testing.T) {
	t.Helper()
	r.until(t, "the new certificate is in force", func() bool { return r.inForce(r.new) })
}

// refused does a change that must not load, and sees the old stay in force
// after the watcher has looked.
func (r *rig) refused(t *testing.T, change func()) {
	t.Helper()
	before := r.failures.Load()
	change()
	r.until(t, "the bad state was looked at", func() bool { return r.failures.Load() > before })
	if !r.inForce(r.old) {
		t.Fatal("the last good one is no longer in force")
	}
}

// replace puts data in name by renaming over it.
func replace(t *testing.T, name string, data []byte) {
	t.Helper()
	writeFile(t, name+".tmp", data)
	must(t, os.Rename(name+".tmp", name))
}

// relink points link elsewhere, atomically.
func relink(t *testing.T, target, link string) {
	t.Helper()
	must(t, os.Symlink(target, link+".tmp"))
	must(t, os.Rename(link+".tmp", link))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatcher(t *testing.T) {
	tests := []struct {
		name   string
		lay    func(*testing.T, *rig)
		silent bool // makes no event that is watched for
		change func(t *testing.T, r *rig)
	}{
		{name: "written in place", change: func(t *testing.T, r *rig) { r.put(t, filepath.Join(r.dir, "live"), r.new) }},
		{name: "renamed over", change: func(t *testing.T, r *rig) {
			replace(t, r.files.Key, r.new.KeyPEM(t))
			replace(t, r.files.Cert, r.new.CertPEM())
		}},
		{name: "key before certificate", change: func(t *testing.T, r *rig) {
			r.refused(t, func() { writeFile(t, r.files.Key, r.new.KeyPEM(t)) })
			writeFile(t, r.files.Cert, r.new.CertPEM())
		}},
		{name: "certificate before key", change: func(t *testing.T, r *rig) {
			r.refused(t, func() { replace(t, r.files.Cert, r.new.CertPEM()) })
			replace(t, r.files.Key, r.new.KeyPEM(t))
		}},
		{name: "mismatched pair, then bundle too", change: func(t *testing.T, r *rig) {
			r.refused(t, func() { writeFile(t, r.files.Cert, r.new.CertPEM()); writeFile(t, r.files.ClientCA[0], nil) })
			r.refused(t, func() { writeFile(t, r.files.Key, r.new.KeyPEM(t)) })
			writeFile(t, r.files.ClientCA[0], r.ca.PEM())
		}},
		{name: "empty", change: func(t *testing.T, r *rig) {
			r.refused(t, func() { writeFile(t, r.files.Cert, nil) })
			r.put(t, filepath.Join(r.dir, "live"), r.new)
		}},
		{name: "half written", change: func(t *testing.T, r *rig) {
			r.refused(t, func() { writeFile(t, r.files.Cert, r.new.CertPEM()[:300]) })
			r.put(t, filepath.Join(r.dir, "live"), r.new)
		}},
		{name: "file gone", change: func(t *testing.T, r *rig) {
			r.refused(t, func() { must(t, os.Remove(r.files.ClientCA[0])) })
			r.put(t, filepath.Join(r.dir, "live"), r.new)
		}},
		{name: "a folder in its place", change: func(t *testing.T, r *rig) {
			r.refused(t, func() { must(t, os.Remove(r.files.Key)); must(t, os.Mkdir(r.files.Key, 0o700)) })
			must(t, os.Remove(r.files.Key))
			r.put(t, filepath.Join(r.dir, "live"), r.new)
		}},
		{name: "a pipe in its place", change: func(t *testing.T, r *rig) {
			r.refused(t, func() { must(t, os.Remove(r.files.Cert)); must(t, syscall.Mkfifo(r.files.Cert, 0o600)) })
			replace(t, r.files.Key, r.new.KeyPEM(t))
			replace(t, r.files.Cert, r.new.CertPEM())
		}},
		{name: "folder deleted and made again", change: func(t *testing.T, r *rig) {
			r.refused(t, func() { must(t, os.RemoveAll(filepath.Join(r.dir, "live"))) })
			r.put(t, filepath.Join(r.dir, "live"), r.new)
		}},
		{name: "folder deleted and made again at once", change: func(t *testing.T, r *rig) {
			must(t, os.RemoveAll(filepath.Join(r.dir, "live")))
			r.put(t, filepath.Join(r.dir, "live"), r.new)
		}},
		{name: "folder renamed away and another in its place", change: func(t *testing.T, r *rig) {
			r.put(t, filepath.Join(r.dir, "next"), r.new)
			must(t, os.Rename(filepath.Join(r.dir, "live"), filepath.Join(r.dir, "gone")))
			must(t, os.Rename(filepath.Join(r.dir, "next"), filepath.Join(r.dir, "live")))
		}},
		{name: "Kubernetes ..data", lay: layKubernetes, change: func(t *testing.T, r *rig) {
			live := filepath.Join(r.dir, "live")
			r.put(t, filepath.Join(live, "..v2"), r.new)
			relink(t, "..v2", filepath.Join(live, "..data"))
			must(t, os.RemoveAll(filepath.Join(live, "..v1")))
		}},
		{name: "Kubernetes ..data to a bad version first", lay: layKubernetes, change: func(t *testing.T, r *rig) {
			live := filepath.Join(r.dir, "live")
			r.refused(t, func() { relink(t, "..none", filepath.Join(live, "..data")) })
			r.put(t, filepath.Join(live, "..v2"), r.new)
			relink(t, "..v2", filepath.Join(live, "..data"))
		}},
		{name: "versioned folder", lay: layVersions, change: func(t *testing.T, r *rig) {
			r.put(t, filepath.Join(r.dir, "v2"), r.new)
			relink(t, "v2", filepath.Join(r.dir, "live"))
		}},
		{name: "written in place behind a link", lay: layVersions, change: func(t *testing.T, r *rig) { r.put(t, filepath.Join(r.dir, "v1"), r.new) }},
		{name: "link behind a link", lay: layFarLinks, change: func(t *testing.T, r *rig) {
			r.put(t, filepath.Join(r.dir, "v2"), r.new)
			relink(t, "../v2", filepath.Join(r.dir, "far", "a"))
		}},
		{name: "folder above renamed", silent: true, lay: func(t *testing.T, r *rig) {
			r.dir = filepath.Join(r.dir, "above")
			layPlain(t, r)
		}, change: func(t *testing.T, r *rig) {
			r.put(t, filepath.Join(r.dir+"2", "live"), r.new)
			must(t, os.Rename(r.dir, r.dir+"1"))
			must(t, os.Rename(r.dir+"2", r.dir))
		}},
	}
	modes := []struct {
		name string
		opts WatchOptions
		only string // this case, all where empty
	}{
		{name: "events alone", opts: WatchOptions{Resync: time.Hour, Poll: time.Hour, Debounce: 50 * time.Millisecond}},
		{name: "polling alone", opts: WatchOptions{NoNotify: true, Poll: 100 * time.Millisecond, Debounce: 20 * time.Millisecond}},
		{name: "defaults", only: "folder above renamed"},
		{name: "polling by default", opts: WatchOptions{NoNotify: true}, only: "certificate before key"},
	}
	for _, mode := range modes {
		for _, tt := range tests {
			if tt.silent && mode.name == "events alone" || mode.only != "" && mode.only != tt.name {
				continue
			}
			t.Run(mode.name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, mode.opts, tt.lay)
				tt.change(t, r)
				r.wantNew(t)
				// And once more, by the plainest means, back: it still watches.
				resolved, err := filepath.EvalSymlinks(filepath.Dir(r.files.Cert))
				must(t, err)
				if tt.name == "Kubernetes ..data" || tt.name == "Kubernetes ..data to a bad version first" {
					resolved = filepath.Join(resolved, "..v2")
				}
				r.put(t, resolved, r.old)
				r.until(t, "a second change is in force", func() bool { return r.inForce(r.old) })
			})
		}
	}
}

// What fails by the same content is tried again when Poll is over, and not at
// each event: a log beside the configuration makes one for each try.
func TestWatcherOwnEvents(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	must(t, os.WriteFile(file, []byte("bad"), 0o600))
	var tries atomic.Int64
	w := NewWatcher(func() []string { return []string{file} }, func() error {
		n := tries.Add(1)
		must(t, os.WriteFile(filepath.Join(dir, "log"), []byte{byte(n)}, 0o600))
		return os.ErrInvalid
	}, WatchOptions{Debounce: 5 * time.Millisecond, Poll: time.Hour})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx, nil) }()
	defer func() { cancel(); <-done }()
	for i := range 200 { // looks enough for a hundred tries
		must(t, os.WriteFile(filepath.Join(dir, "other"), []byte{byte(i)}, 0o600))
		time.Sleep(2 * time.Millisecond)
	}
	if n := tries.Load(); n != 1 {
		t.Errorf("%d tries of one content, want 1", n)
	}
}
