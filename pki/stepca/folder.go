package stepca

import (
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

const (
	currentLink = "current"
	certName    = "tls.crt"
	keyName     = "tls.key"
	tmpPrefix   = ".new-"
)

// Folder is a [Store] of one version of a pair after another: each lies in a
// folder of its own, <Dir>/v-<number>-<serial>/{tls.crt,tls.key}, and the link
// <Dir>/current leads to the one in force. One rename of the link swaps
// certificate and key together, so a reader, or a crash at any point, finds the
// old pair or the new one. One writer at a time.
//
// A key that cannot be exported ([Pair.Exportable]) is not written; Key opens it.
type Folder struct {
	Dir  string
	Keep int                           // versions, the current one included; 3 when zero, 2 at least
	Key  func() (crypto.Signer, error) // of versions without tls.key; nil: such versions are an error

	step func(name string) error // tests stop a Save here; nil outside them
}

// Cert returns the name other programs find the certificate in force under.
func (f Folder) Cert() string { return f.Dir + "/" + currentLink + "/" + certName }

// Load returns the pair in force. Where the link is missing or what it leads to
// cannot be read (a crash during the very first Save, a damaged disk), it is the
// newest version that can be, and the link is mended. The error is
// [fs.ErrNotExist] when there is no version at all.
func (f Folder) Load() (*Pair, error) {
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return nil, fmt.Errorf("stepca: %w", err)
	}
	defer root.Close()
	versions, err := f.versions(root)
	if err != nil {
		return nil, fmt.Errorf("stepca: versions in %s: %w", f.Dir, err)
	}
	if len(versions) == 0 {
		return nil, fmt.Errorf("stepca: no certificate in %s: %w", f.Dir, fs.ErrNotExist)
	}
	current, _ := root.Readlink(currentLink)
	candidates := slices.DeleteFunc(versions, func(v string) bool { return v == current })
	slices.Reverse(candidates) // newest first
	if number(current) >= 0 {
		candidates = slices.Insert(candidates, 0, current)
	}
	var errs []error
	for _, v := range candidates {
		pair, err := f.read(root, v)
		if err != nil {
			errs = append(errs, fmt.Errorf("stepca: %s/%s: %w", f.Dir, v, err))
			continue
		}
		if v != current {
			_ = f.link(root, v) // a folder we may only read serves as well
		}
		return pair, nil
	}
	return nil, errors.Join(errs...)
}

// read reads both files from one version, whatever the link does meanwhile.
func (f Folder) read(root *os.Root, version string) (*Pair, error) {
	cert, err := readIn(root, version+"/"+certName)
	if err != nil {
		return nil, err
	}
	var key crypto.Signer
	data, err := readIn(root, version+"/"+keyName)
	switch {
	case err == nil:
		key, err = parseKey(data)
	case errors.Is(err, fs.ErrNotExist) && f.Key != nil:
		key, err = f.Key()
	}
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return parsePair(cert, key)
}

func readIn(root *os.Root, name string) ([]byte, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readOpen(file)
}

// Save makes p the pair in force, in a new version, and removes versions beyond
// Keep. The pair is on disk (fsync) before the link changes.
func (f Folder) Save(p *Pair) error {
	if err := f.save(p); err != nil {
		return fmt.Errorf("stepca: keep certificate in %s: %w", f.Dir, err)
	}
	return nil
}

func (f Folder) save(p *Pair) error {
	var key []byte
	if p.Exportable() {
		var err error
		if key, err = p.KeyPEM(); err != nil {
			return err
		}
	} else if f.Key == nil {
		return ErrHeldKey
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	versions, err := f.versions(root)
	if err != nil {
		return err
	}
	next := 1
	if n := len(versions); n > 0 {
		next = number(versions[n-1]) + 1
	}
	version := fmt.Sprintf("v-%08d-%.16s", next, p.Leaf().SerialNumber.Text(16))
	if err := f.write(root, version, p.CertPEM(), key); err != nil {
		return err
	}
	if err := f.link(root, version); err != nil {
		return err
	}
	return f.prune(root, append(versions, version), version)
}

// write makes the version's folder under another name, and then gives it its
// own: what is named v-… is whole.
func (f Folder) write(root *os.Root, version string, cert, key []byte) (err error) {
	tmp := tmpPrefix + version
	defer func() {
		if err != nil && !errors.Is(err, errStopped) {
			root.RemoveAll(tmp)
		}
	}()
	if err := root.RemoveAll(tmp); err != nil { // of a crash
		return err
	}
	if err := root.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	if err := f.at("mkdir"); err != nil {
		return err
	}
	if key != nil {
		if err := writeIn(root, tmp+"/"+keyName, key); err != nil {
			return err
		}
		if err := f.at("key"); err != nil {
			return err
		}
	}
	if err := writeIn(root, tmp+"/"+certName, cert); err != nil {
		return err
	}
	if err := f.at("cert"); err != nil {
		return err
	}
	if err := syncIn(root, tmp); err != nil {
		return err
	}
	if err := root.Rename(tmp, version); err != nil {
		return err
	}
	if err := syncIn(root, "."); err != nil {
		return err
	}
	return f.at("version")
}

func writeIn(root *os.Root, name string, data []byte) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// link swaps the link to version.
func (f Folder) link(root *os.Root, version string) error {
	tmp := tmpPrefix + currentLink
	if err := root.RemoveAll(tmp); err != nil {
		return err
	}
	if err := root.Symlink(version, tmp); err != nil {
		return err
	}
	if err := f.at("symlink"); err != nil {
		return err
	}
	if err := root.Rename(tmp, currentLink); err != nil {
		return err
	}
	if err := syncIn(root, "."); err != nil {
		return err
	}
	return f.at("swap")
}

// prune removes old versions and what crashes left. A version loses its name
// before its files.
func (f Folder) prune(root *os.Root, versions []string, current string) error {
	keep := max(cmp.Or(f.Keep, 3), 2)
	for _, v := range versions[:max(len(versions)-keep, 0)] {
		if v == current {
			continue
		}
		if err := root.Rename(v, tmpPrefix+v); err != nil {
			return err
		}
		if err := f.at("prune"); err != nil {
			return err
		}
	}
	names, err := entries(root)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if strings.HasPrefix(name, tmpPrefix) {
			errs = append(errs, root.RemoveAll(name))
		}
	}
	return errors.Join(errs...)
}

// versions returns the names of all versions, oldest first.
func (f Folder) versions(root *os.Root) ([]string, error) {
	names, err := entries(root)
	names = slices.DeleteFunc(names, func(name string) bool { return number(name) < 0 })
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(number(a), number(b)) })
	return names, err
}

func entries(root *os.Root) ([]string, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// number returns the number of a version, -1 for any other name.
func number(name string) int {
	rest, ok := strings.CutPrefix(name, "v-")
	digits, serial, dash := strings.Cut(rest, "-")
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || !dash || err != nil || strings.ContainsAny(serial, `/\`) {
		return -1
	}
	return int(n)
}

func syncIn(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return atomicfile.Sync(d)
}

// errStopped is what a test's step returns: a crash cleans nothing up.
var errStopped = errors.New("stopped by a test")

func (f Folder) at(name string) error {
	if f.step == nil {
		return nil
	}
	return f.step(name)
}
