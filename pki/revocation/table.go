package revocation

import (
	"hash/maphash"
	"math/big"
	"math/bits"
)

// maxSerial is the length of the longest serial number (RFC 5280, 4.1.2.2).
const maxSerial = 20

// A serial is a serial number, big-endian, with leading zeros.
type serial [maxSerial]byte

// serialOf reports false for numbers that are negative or too long.
func serialOf(n *big.Int) (s serial, ok bool) {
	if n == nil || n.Sign() < 0 || n.BitLen() > 8*maxSerial {
		return s, false
	}
	n.FillBytes(s[:])
	return s, true
}

func (s serial) String() string { return new(big.Int).SetBytes(s[:]).Text(16) }

// A slot of a table is 0 or the number of a record, counted from 1, under some
// bits of its hash: most records that are not the one looked for are never read.
const (
	numberBits = 23
	numberMask = 1<<numberBits - 1
)

// A table finds records of fixed size by key. It is built once, holds no
// pointers of its own for the collector to follow, and is hashed with a secret
// seed, so that nobody can choose serial numbers that collide. Its zero value
// is empty.
type table[K comparable, V any] struct {
	seed    maphash.Seed
	slots   []uint32 // open addressing, at most 3/4 full
	records []record[K, V]
}

type record[K comparable, V any] struct {
	key   K
	value V
}

// newTable takes the records over; of those with the same key the first stays.
// There can be numberMask of them.
func newTable[K comparable, V any](records []record[K, V]) table[K, V] {
	t := table[K, V]{
		seed:    maphash.MakeSeed(),
		slots:   make([]uint32, 1<<bits.Len(uint(len(records)*4/3))),
		records: records[:0],
	}
	for _, r := range records {
		if at, tag, found := t.probe(r.key); !found {
			t.records = append(t.records, r)
			t.slots[at] = tag<<numberBits | uint32(len(t.records))
		}
	}
	return t
}

// probe returns the slot the key is in, or the free one it would go into.
func (t *table[K, V]) probe(key K) (at uint64, tag uint32, found bool) {
	h := maphash.Comparable(t.seed, key)
	mask := uint64(len(t.slots) - 1)
	tag = uint32(h >> (64 - (32 - numberBits)))
	for at = h & mask; ; at = (at + 1) & mask {
		slot := t.slots[at]
		if slot == 0 {
			return at, tag, false
		}
		if slot>>numberBits == tag && t.records[slot&numberMask-1].key == key {
			return at, tag, true
		}
	}
}

func (t *table[K, V]) find(key K) (value V, found bool) {
	if len(t.records) == 0 {
		return value, false
	}
	at, _, found := t.probe(key)
	if !found {
		return value, false
	}
	return t.records[t.slots[at]&numberMask-1].value, true
}
