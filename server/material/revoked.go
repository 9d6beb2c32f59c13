package material

import (
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/ocsp"
	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/pki/sanrule"
)

// joined is a revoked and what it was made of.
type joined struct {
	file   denyFile
	store  *revocation.Denylist
	held   *revocation.Holdings // nil: no lists are configured
	mode   revocation.Mode
	ocsp   *ocsp.Cache
	hard   bool // of ocsp
	result *revoked
}

// A denyFile is the operator's file as it was last read.
type denyFile struct {
	name   string
	digest [sha256.Size]byte
	list   *revocation.Denylist // nil: none is configured
}

// Deny has the entries of the state store in the next snapshot; nil: there are
// none.
func (k *Keeper) Deny(list *revocation.Denylist) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.denied = list
}

// revocation returns what is known of revocation now: the same value as before
// where nothing changed, nil where nothing is configured and nobody denied.
func (k *Keeper) revocation(cur parts) (pki.Revocation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := revocationOf(cur.config)
	next := joined{store: k.denied, ocsp: cur.ocsp, hard: r.OCSP == "hard"}
	var lists []*revocation.CRL
	var missing []string
	if cur.lists != nil {
		next.held = cur.lists.Holdings()
		lists, missing = next.held.Lists, next.held.Missing
	}
	if r.CRLMode == "soft" || len(r.CRL) == 0 {
		next.mode = revocation.Soft
	}
	file, err := k.joined.file.again(string(r.Denylist))
	if next.file = file; err != nil && !k.lenient.Load() {
		return nil, err
	}
	if len(r.CRL) == 0 && next.file.list == nil && next.store == nil && next.ocsp == nil {
		k.joined = joined{}
		return nil, err
	}
	was := &k.joined
	if was.result != nil && next.file == was.file && next.store == was.store && next.mode == was.mode &&
		next.ocsp == was.ocsp && next.hard == was.hard && next.held == was.held {
		return was.result, err
	}
	set := revocation.NewSet(lists, []*revocation.Denylist{next.file.list, next.store},
		revocation.SetOptions{Missing: missing, Mode: next.mode, Held: next.held})
	next.result = &revoked{set: set, ocsp: next.ocsp, hard: next.hard, lists: cur.lists, keeper: k}
	k.joined = next
	return next.result, err
}

// MaxDenylistBytes bounds a denylist file.
const MaxDenylistBytes = 64 << 20

// again reads the file unless it says what it said before, which stays where
// there is an error.
func (f denyFile) again(name string) (denyFile, error) {
	if name == "" {
		return denyFile{}, nil
	}
	in, err := regularfile.Open(name, MaxDenylistBytes)
	if err != nil {
		return f, fmt.Errorf("denylist: %w", err)
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return f, fmt.Errorf("denylist: %w", err)
	}
	next := denyFile{name: name, digest: [sha256.Size]byte(h.Sum(nil))}
	if f.list != nil && f.name == name && f.digest == next.digest {
		return f, nil
	}
	if _, err = in.Seek(0, io.SeekStart); err == nil {
		next.list, err = ParseDenylist(in, name)
	}
	if changed := in.Unchanged(); err == nil && changed != nil { // another content than the digest's
		err = fmt.Errorf("denylist: %w", changed)
	}
	if err != nil {
		return f, err
	}
	return next, nil
}

// Denies reports whether the list names the peer, at time now under snap.
func Denies(list *revocation.Denylist, peer *pki.Peer, snap *pki.Snapshot, now time.Time) bool {
	alone := *snap
	alone.Revocation = &revoked{set: revocation.NewSet(nil, []*revocation.Denylist{list}, revocation.SetOptions{Mode: revocation.Soft})}
	return peer.Find(&alone, now).Reason == pki.Revoked
}

// ParseDenylist reads a denylist with the SAN rules of tenants; name is what
// errors and refusals call it.
func ParseDenylist(r io.Reader, name string) (*revocation.Denylist, error) {
	return revocation.ParseDenylist(r, name, func(rule string) (func(pki.SAN) bool, error) {
		parsed, err := sanrule.Parse(rule)
		if err != nil {
			return nil, err
		}
		var set sanrule.Set[bool]
		if err := set.Add(parsed, true); err != nil {
			return nil, err
		}
		return func(san pki.SAN) bool { _, found := set.Lookup(san); return found }, nil
	})
}
