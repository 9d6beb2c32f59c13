package revocation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sangate/sangate/pki/ownfile"
	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

// keep writes a list that was taken to disk, one file for each issuer. What goes
// wrong is told, and stops nothing.
func (it *item) keep(list *CRL, data []byte) {
	if it.kept == "" || data == nil {
		return
	}
	issuer := issuerKeyOf(list.Issuer)
	err := os.MkdirAll(filepath.Dir(it.kept), 0o700)
	if err == nil {
		err = atomicfile.Write(fmt.Sprintf("%s-%x.crl", it.kept, issuer[:8]), data, 0o600)
	}
	if err != nil {
		it.source.opts.Logger.Warn("revocation list not kept; a start while its origin is away would be without it", "name", it.name, "err", err)
	}
}

// restore holds the lists that were kept, the first time it is called: they are
// in force until the origin says more, and it cannot go back behind them. They
// are looked at like any other; one that has ended is stale.
func (it *item) restore() {
	if it.kept == "" || it.restored {
		return
	}
	it.restored = true
	files, _ := filepath.Glob(it.kept + "-*.crl") // the pattern is ours
	var lists []*CRL
	for _, file := range files {
		list, err := it.read(file)
		if err != nil && !errors.Is(err, ErrStale) {
			it.source.opts.Logger.Warn("revocation list that was kept is not used", "name", it.name, "file", file, "err", err)
			continue
		}
		lists = append(lists, list)
	}
	var newest *CRL
	for _, list := range lists {
		if newest == nil || newest.ThisUpdate.Before(list.ThisUpdate) {
			newest = list
		}
	}
	for _, list := range lists {
		if list != newest {
			it.hold(list)
		}
	}
	if newest != nil {
		it.hold(newest)
	}
}

func (it *item) read(file string) (*CRL, error) {
	if err := ownfile.CheckNamed(file); err != nil {
		return nil, err
	}
	data, err := regularfile.Read(file, MaxCRLBytes)
	if err != nil {
		return nil, err
	}
	list, err := ParseCRL(data, it.source.opts.Issuers(), it.source.opts.Now())
	if list != nil {
		list.Name = it.name
	}
	return list, err
}
