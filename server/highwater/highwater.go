// Package highwater keeps numbers that only grow, in a file of their own. Each is the
// mark of a thing that can be replaced by an older copy, such as a database or a
// revocation list: a copy that is lower than its mark is an older one.
//
// The file is replaced whole, so a crash leaves the old or the new marks. With a key
// encryption key the marks carry a proof (HMAC-SHA-256), and only holders of that key
// can write other marks. An older copy of the file has a valid proof, too: keep it on a
// volume that writers of the marked things cannot write to.
//
// A mark may lag. It must never be raised before the marked change is committed.
package highwater

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"sync"

	"github.com/sangate/sangate/pki/ownfile"
	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

// Bounds of a file.
const (
	maxFile   = 32 << 20 // bytes
	maxMarks  = 250_000
	maxName   = 200 // bytes
	maxBits   = 160 // of a mark: numbers of revocation lists have up to 20 bytes (RFC 5280, section 5.2.3)
	maxSealed = 4   // wrapped keys
)

var (
	// ErrProof reports marks whose proof is missing or wrong.
	ErrProof = errors.New("the proof of the high-water marks does not fit")
	// ErrLocked reports marks whose proof was not verified because the key is not there.
	ErrLocked = errors.New("the high-water marks are locked: their key encryption key is not there")
)

// content is the file.
type content struct {
	Version int                 `json:"version"`
	Epoch   int64               `json:"epoch"` // counts the times that marks were set back on purpose
	Marks   map[string]*big.Int `json:"marks"`
	Keys    [][]byte            `json:"keys,omitempty"` // the key of the proof, each time wrapped by another key
	Proof   []byte              `json:"proof,omitempty"`
}

// A File holds the marks of one file. Safe for concurrent use, by several processes as
// well: each keeps the higher of two marks.
type File struct {
	name string

	writing sync.Mutex // one change at a time; look-ups do not wait for the disk

	mu   sync.Mutex // of what follows, which is changed under both; maps are replaced, not changed
	have content
	read bool   // there was a file
	key  []byte // of the proof; nil: none, or locked
}

// Fresh is a file without marks, to be [File.Reset] in the place of one that cannot be read.
func Fresh(name string) *File {
	return &File{name: name, have: content{Version: 1, Marks: make(map[string]*big.Int)}}
}

// Open reads the file, if there is one. Marks that have a proof are locked until
// [File.Unlock].
func Open(name string) (*File, error) {
	f := Fresh(name)
	have, err := f.load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return nil, err
	}
	f.have, f.read = have, true
	return f, nil
}

// Name returns the file's.
func (f *File) Name() string { return f.name }

// Missing reports whether there was no file.
func (f *File) Missing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.read
}

// Sealed reports whether the marks have a proof.
func (f *File) Sealed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.have.sealed()
}

// Locked reports whether the marks have a proof that was not verified.
func (f *File) Locked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.locked()
}

func (f *File) locked() bool { return f.have.sealed() && f.key == nil }

func (c *content) sealed() bool { return len(c.Keys) > 0 || len(c.Proof) > 0 }

func (f *File) load() (c content, err error) {
	if err := ownfile.CheckNamed(f.name); err != nil {
		return c, err
	}
	data, err := regularfile.Read(f.name, maxFile)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s is not a file of high-water marks: %w", f.name, err)
	}
	if c.Version != 1 || len(c.Marks) > maxMarks || len(c.Keys) > maxSealed {
		return c, fmt.Errorf("%s is not a file of high-water marks of this version", f.name)
	}
	for name, n := range c.Marks {
		if err := check(name, n); err != nil {
			return c, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if c.Marks == nil {
		c.Marks = make(map[string]*big.Int)
	}
	return c, nil
}

func check(name string, n *big.Int) error {
	if name == "" || len(name) > maxName || n == nil || n.Sign() < 0 || n.BitLen() > maxBits {
		return fmt.Errorf("%q is not a valid mark", name)
	}
	return nil
}

// Mark returns the mark of a name, 0 if it has none. The caller must not change it.
func (f *File) Mark(name string) *big.Int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.have.Marks[name]; n != nil {
		return n
	}
	return new(big.Int)
}

// Marks returns all.
func (f *File) Marks() map[string]*big.Int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.have.Marks)
}

// Raise raises marks that are lower, and writes them. Those that are higher stay. It
// returns [ErrLocked] for marks whose proof it could not renew.
func (f *File) Raise(marks map[string]*big.Int) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.locked() {
		return ErrLocked
	}
	higher := false
	for name, n := range marks {
		if err := check(name, n); err != nil {
			return err
		}
		old := f.have.Marks[name]
		higher = higher || old == nil || n.Cmp(old) > 0
	}
	if !higher && f.read {
		return nil
	}
	return f.change(func(c *content) error {
		raise(c.Marks, marks)
		if len(c.Marks) > maxMarks {
			return fmt.Errorf("%s: more than %d high-water marks", f.name, maxMarks)
		}
		return nil
	})
}

func raise(to, from map[string]*big.Int) {
	for name, n := range from {
		if old := to[name]; old == nil || n.Cmp(old) > 0 {
			to[name] = n
		}
	}
}

// change merges the marks of the file with those in memory, edits them and writes them. Callers hold writing.
func (f *File) change(edit func(*content) error) error {
	unlock, err := lock(f.name + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	next := f.have
	next.Marks, next.Keys = maps.Clone(f.have.Marks), append([][]byte(nil), f.have.Keys...)
	other, err := f.load()
	if err == nil && f.key == nil && other.sealed() {
		return ErrLocked // another process has sealed it
	}
	// A file without a valid proof is replaced: the marks in memory are not lower.
	if err == nil && f.fits(&other) {
		switch {
		case other.Epoch > next.Epoch:
			next = other
		case other.Epoch == next.Epoch:
			raise(next.Marks, other.Marks)
			next.Keys = other.Keys
		}
	}
	if err := edit(&next); err != nil {
		return err
	}
	return f.write(&next)
}

func (f *File) write(next *content) error {
	next.Proof = nil
	if f.key != nil {
		next.Proof = next.prove(f.key)
	}
	data, err := json.Marshal(next)
	if err == nil {
		err = atomicfile.Write(f.name, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing high-water marks: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.have, f.read = *next, true
	return nil
}

// Refresh takes over marks that were set back on purpose by another process, and
// higher ones.
func (f *File) Refresh() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	other, err := f.load()
	if err != nil {
		return err
	}
	if !f.fits(&other) {
		return fmt.Errorf("%s: %w", f.name, ErrProof)
	}
	next := f.have
	if other.Epoch > next.Epoch {
		next = other
	} else if other.Epoch == next.Epoch {
		next.Marks = maps.Clone(next.Marks)
		raise(next.Marks, other.Marks)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.have = next
	return nil
}

// fits reports whether the content has a valid proof, or needs none.
func (f *File) fits(c *content) bool {
	if f.key == nil {
		return !c.sealed()
	}
	return len(c.Keys) > 0 && hmac.Equal(c.Proof, c.prove(f.key))
}

// prove returns the proof of epoch and marks. encoding/json writes the names sorted.
func (c *content) prove(key []byte) []byte {
	data, err := json.Marshal(content{Version: c.Version, Epoch: c.Epoch, Marks: c.Marks})
	if err != nil {
		panic(err) // numbers and texts
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return mac.Sum(nil)
}
