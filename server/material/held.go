package material

import (
	"iter"

	"github.com/sangate/sangate/pki/revocation"
)

// Held is what the gate holds about revocation: the lists, the operator's denylist
// under its name, and that of the state store; nil where there is none.
type Held struct {
	Lists    []*revocation.CRL
	FileName string
	File     *revocation.Denylist
	Stored   *revocation.Denylist
}

// Held returns it as it is in force.
func (k *Keeper) Held() Held {
	k.mu.Lock()
	defer k.mu.Unlock()
	var lists []*revocation.CRL
	if k.joined.held != nil {
		lists = k.joined.held.Lists
	}
	return Held{lists, k.joined.file.name, k.joined.file.list, k.joined.store}
}

// Lists returns the revocation list that is held of each that is configured, by its
// name; nil: none yet.
func (k *Keeper) Lists() iter.Seq2[string, *revocation.CRL] {
	if lists := k.parts().lists; lists != nil {
		return lists.Held()
	}
	return func(func(string, *revocation.CRL) bool) {}
}
