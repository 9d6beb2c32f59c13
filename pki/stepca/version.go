package stepca

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

const (
	currentLink = "current"
	certName    = "tls.crt"
	keyName     = "tls.key"
	tmpPrefix   = ".new-"
)

// write makes the version's folder under another name, and then gives it its
// own: what is named v-… is whole.
func (f Folder) write(root *os.Root, version string, cert, key []byte) (err error) {
	tmp := tmpPrefix + version
	defer func() {
		if err != nil {
			root.RemoveAll(tmp)
		}
	}()
	if err := root.RemoveAll(tmp); err != nil { // of a crash
		return err
	}
	if err := root.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	f.at("mkdir")
	if key != nil {
		if err := writeIn(root, tmp+"/"+keyName, key); err != nil {
			return err
		}
		f.at("key")
	}
	if err := writeIn(root, tmp+"/"+certName, cert); err != nil {
		return err
	}
	f.at("cert")
	if err := syncIn(root, tmp); err != nil {
		return err
	}
	if err := root.Rename(tmp, version); err != nil {
		return err
	}
	if err := syncIn(root, "."); err != nil {
		return err
	}
	f.at("version")
	return nil
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
	f.at("symlink")
	if err := root.Rename(tmp, currentLink); err != nil {
		return err
	}
	if err := syncIn(root, "."); err != nil {
		return err
	}
	f.at("swap")
	return nil
}

// prune removes old versions and what crashes left. A version loses its name
// before its files.
func (f Folder) prune(root *os.Root, versions []string) error {
	keep := max(cmp.Or(f.Keep, 3), 2)
	for _, v := range versions[:max(len(versions)-keep, 0)] {
		if err := root.Rename(v, tmpPrefix+v); err != nil {
			return err
		}
		f.at("prune")
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

func readIn(root *os.Root, name string) ([]byte, error) {
	return regularfile.ReadIn(root, name, maxFile)
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

func (f Folder) at(name string) {
	if f.step != nil {
		f.step(name)
	}
}
