package stepca

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/sangate/sangate/pki/ownfile"
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

	step func(name string) // tests panic here, in place of a crash
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
			// Not %w: a missing file is damage here, not an empty store.
			errs = append(errs, fmt.Errorf("stepca: %s/%s: %v", f.Dir, v, err)) //nolint:errorlint // see above
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
	root, err := ownfile.OpenOutput(f.Dir)
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
	// What cannot be removed now is tried again by the next Save; the pair is in
	// force all the same.
	_ = f.prune(root, append(versions, version))
	return nil
}
