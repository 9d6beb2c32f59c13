package material

import "github.com/sangate/sangate/pki/revocation"

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
	return Held{k.joined.lists, k.joined.file.name, k.joined.file.list, k.joined.store}
}
