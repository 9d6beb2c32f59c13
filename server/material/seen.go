package material

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"slices"
)

// Bounds of the issuers that clients bring: in all, and of one CA below an anchor.
const (
	maxSeen   = 512
	maxBranch = 16
)

// seenIssuer is a CA certificate of a client's verified chain. The branch is the key of the
// CA directly below the anchor: what is below it is that CA's doing, and its share.
type seenIssuer struct {
	cert           *x509.Certificate
	anchor, branch [sha256.Size]byte
}

// noteIssuersOf keeps the CA certificates of a client's verified chain (leaf first) for
// issuers: a CA's next intermediate signs lists before anything else here knows it. It
// reports whether there was a new one.
func (k *Keeper) noteIssuersOf(chain []*x509.Certificate) (added bool) {
	if len(chain) < 3 {
		return false // the anchor alone, which is known
	}
	last := len(chain) - 1
	anchor := sha256.Sum256(chain[last].RawSubjectPublicKeyInfo)
	branch := sha256.Sum256(chain[last-1].RawSubjectPublicKeyInfo)
	k.mu.Lock()
	defer k.mu.Unlock()
	var seen []seenIssuer
	if held := k.seen.Load(); held != nil {
		seen = *held
	}
	for _, ca := range chain[1:last] {
		if !slices.ContainsFunc(seen, func(s seenIssuer) bool { return s.cert.Equal(ca) }) {
			seen = share(seen, seenIssuer{ca, anchor, branch})
			added = true
		}
	}
	if added {
		k.seen.Store(&seen)
	}
	return added
}

// share returns the issuers with one more. If there are too many of its branch, its oldest
// is left out, and if there are too many in all, the oldest of the branch that has most,
// below the anchor that has most.
func share(seen []seenIssuer, next seenIssuer) []seenIssuer {
	seen = append(slices.Clone(seen), next)
	of := make(map[[sha256.Size]byte]int)
	branches := make(map[[2][sha256.Size]byte]int)
	for _, s := range seen {
		of[s.anchor]++
		branches[[2][sha256.Size]byte{s.anchor, s.branch}]++
	}
	from := [2][sha256.Size]byte{next.anchor, next.branch}
	if branches[from] <= maxBranch {
		if len(seen) <= maxSeen {
			return seen
		}
		for anchor, n := range of {
			if most := of[from[0]]; n > most || n == most && bytes.Compare(anchor[:], from[0][:]) > 0 {
				from = [2][sha256.Size]byte{anchor}
			}
		}
		for b, n := range branches {
			if most := branches[from]; b[0] == from[0] && (n > most || n == most && bytes.Compare(b[1][:], from[1][:]) > 0) {
				from = b
			}
		}
	}
	oldest := slices.IndexFunc(seen, func(s seenIssuer) bool { return s.anchor == from[0] && s.branch == from[1] })
	return slices.Delete(seen, oldest, oldest+1)
}
