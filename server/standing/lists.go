package standing

import (
	"crypto/sha256"
	"fmt"
	"math/big"

	"github.com/sangate/sangate/pki/revocation"
)

// listNames returns the names of a revocation list's marks: of its date and of its number.
func listNames(m revocation.Mark) (date, number string) {
	sum := sha256.Sum256(append(m.Issuer[:], m.Scope[:]...))
	name := fmt.Sprintf("crl/%x/", sum[:16])
	return name + "this-update", name + "number"
}

// AdmitList returns an error if a revocation list of the same issuer and scope that was
// newer has been in force before.
func (k *Keeper) AdmitList(m revocation.Mark) error {
	date, number := listNames(m)
	if mark := k.file.Mark(date); mark.Cmp(dateOf(m)) > 0 {
		return fmt.Errorf("a newer one was in force before, by the mark in %s", k.file.Name())
	}
	if mark := k.file.Mark(number); mark.Cmp(new(big.Int).SetBytes(m.Number)) > 0 {
		return fmt.Errorf("number %s was in force before, by the mark in %s", mark, k.file.Name())
	}
	return nil
}

// ListKept raises the marks of a list that is in force and on disk.
func (k *Keeper) ListKept(m revocation.Mark) {
	date, number := listNames(m)
	marks := map[string]*big.Int{date: dateOf(m)}
	if m.Number != nil {
		marks[number] = new(big.Int).SetBytes(m.Number)
	}
	if err := k.file.Raise(marks); err != nil {
		k.opts.Logger.Warn("failed to raise the high-water mark of a CRL", "file", k.file.Name(), "err", err)
	}
}

func dateOf(m revocation.Mark) *big.Int { return big.NewInt(max(0, m.ThisUpdate.Unix())) }
