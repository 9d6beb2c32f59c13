package revocation_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/pkitest"
	"github.com/sangate/sangate/pki/revocation"
)

// nth is a serial number as step-ca makes them: 127 random bits.
func nth(i int) *big.Int {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return new(big.Int).SetBytes(append([]byte{0x40 | sum[0]&0x3f}, sum[1:16]...))
}

func bigList(t testing.TB, ca *issuer, n int) []byte {
	t.Helper()
	l := list{serials: make([]*big.Int, n)}
	for i := range l.serials {
		l.serials[i] = nth(i)
	}
	return ca.crl(t, l)
}

func bigDenylist(t testing.TB, n int) *revocation.Denylist {
	t.Helper()
	var b strings.Builder
	for i := range n {
		switch i % 4 {
		case 0:
			fmt.Fprintf(&b, "serial:%x\n", nth(i))
		case 1:
			fmt.Fprintf(&b, "serial:%x@%020x\n", nth(i), i)
		case 2:
			fmt.Fprintf(&b, "sha256:%064x\n", nth(i))
		case 3:
			fmt.Fprintf(&b, "spki:%064x\n", nth(i))
		}
	}
	d, err := revocation.ParseDenylist(strings.NewReader(b.String()), "deny", exactly)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A million entries are kept in less than 64 MiB and parsed without an object
// for each.
func TestMillionEntries(t *testing.T) {
	ca := newIssuer(t, "ours", nil, nil)
	const n = 1_000_000
	der := bigList(t, ca, n)
	before := heap()
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	c := parse(t, der, time.Now(), ca)
	runtime.ReadMemStats(&m1)
	kept := int64(heap()) - int64(before)
	t.Logf("list of %d bytes: kept %d, allocated %d in %d objects", len(der), kept, m1.TotalAlloc-m0.TotalAlloc, m1.Mallocs-m0.Mallocs)
	if c.Len() != n || kept > 64<<20 {
		t.Errorf("%d entries keep %d bytes", c.Len(), kept)
	}
	if objects := m1.Mallocs - m0.Mallocs; objects > 10_000 {
		t.Errorf("%d objects", objects)
	}
	for i := 0; i < n; i += 997 {
		if _, _, found := c.Lookup(nth(i)); !found {
			t.Fatalf("entry %d is not found", i)
		}
		if _, _, found := c.Lookup(nth(n + i)); found {
			t.Fatalf("number %d is found", n+i)
		}
	}
	runtime.KeepAlive(der)
}

func TestCheckAllocatesNothing(t *testing.T) {
	if pkitest.Race {
		t.Skip("the race detector allocates")
	}
	root := newIssuer(t, "root", nil, nil)
	middle := newIssuer(t, "middle", root, nil)
	lists := []*revocation.CRL{parse(t, middle.crl(t, list{serials: numbers(1, 2, 3)}), time.Now(), middle), parse(t, root.crl(t, list{}), time.Now(), root)}
	set := revocation.NewSet(lists, []*revocation.Denylist{denyRules(t)}, revocation.SetOptions{})
	names := []pki.SAN{{Type: pki.DNS, Value: "a.example"}}
	for name, number := range map[string]int64{"good": 9, "revoked": 2, "denied": 0x1f2} {
		keys := revocation.KeysOf(middle.chain(middle.leaf(t, big.NewInt(number))), names)
		now := time.Now()
		if n := testing.AllocsPerRun(100, func() { set.Check(keys, now) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	// With as many parts and names as are taken, of which none is that of the certificate.
	split, pointed := worstParts(t, middle)
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() { split.Check(pointed, now) }); n != 0 {
		t.Errorf("parts: %v allocations", n)
	}
	if r := split.Check(pointed, now); r.Status != revocation.Unknown || len(r.Detail()) > 1000 {
		t.Errorf("parts: %v, %d bytes of detail", r.Status, len(r.Detail()))
	}
	empty := revocation.NewSet(nil, nil, revocation.SetOptions{})
	keys := revocation.KeysOf(middle.chain(middle.leaf(t, big.NewInt(9))), names)
	if n := testing.AllocsPerRun(100, func() { empty.Check(keys, time.Now()) }); n != 0 {
		t.Errorf("unknown: %v allocations", n)
	}
	number := big.NewInt(2)
	if n := testing.AllocsPerRun(100, func() { lists[0].Lookup(number) }); n != 0 {
		t.Errorf("Lookup: %v allocations", n)
	}
}

func denyRules(t testing.TB) *revocation.Denylist {
	t.Helper()
	return denylist(t, "serial:1f2", "serial:1f2@ab", "spki:"+strings.Repeat("a", 64), "san:dns:b.example")
}

func BenchmarkCRL(b *testing.B) {
	ca := newIssuer(b, "ours", nil, nil)
	for _, n := range []int{10, 1_000_000} {
		der := bigList(b, ca, n)
		before := heap()
		c := parse(b, der, time.Now(), ca)
		kept := float64(heap()) - float64(before)
		b.Run(fmt.Sprintf("parse/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				parse(b, der, time.Now(), ca)
			}
		})
		for what, base := range map[string]int{"hit": 0, "miss": n} {
			asked := make([]*big.Int, min(n, 1<<16))
			for i := range asked {
				asked[i] = nth(base + i*(n/len(asked)))
			}
			b.Run(fmt.Sprintf("%s/%d", what, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					c.Lookup(asked[i%len(asked)])
				}
				b.ReportMetric(kept, "bytes-kept")
			})
		}
	}
}

// worstParts returns as many parts and names as are taken, and a certificate with points of
// which none fits.
func worstParts(t testing.TB, ca *issuer) (*revocation.Set, *revocation.Keys) {
	t.Helper()
	var parts []*revocation.CRL
	var own []field
	for i := range 64 {
		var names []field
		for j := range 32 {
			names = append(names, uri(fmt.Sprintf("http://ca/%03d/%03d", i, j)))
		}
		parts = append(parts, parse(t, ca.crl(t, list{extra: scoped(fullName(names...))}), time.Now(), ca))
		own = append(own, seq(fullName(uri(fmt.Sprintf("http://ca/%03d/own", i)))))
	}
	return revocation.NewSet(parts, nil, revocation.SetOptions{}), revocation.KeysOf(ca.chain(ca.leafAt(t, 9, own...)), nil)
}

func BenchmarkParts(b *testing.B) {
	set, keys := worstParts(b, newIssuer(b, "ca", nil, nil))
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		set.Check(keys, now)
	}
}

func BenchmarkSet(b *testing.B) {
	root := newIssuer(b, "root", nil, nil)
	middle := newIssuer(b, "middle", root, nil)
	for _, n := range []int{10, 1_000_000} {
		before := heap()
		deny := bigDenylist(b, n)
		kept := float64(heap()) - float64(before)
		set := revocation.NewSet([]*revocation.CRL{parse(b, bigList(b, middle, n), time.Now(), middle),
			parse(b, root.crl(b, list{}), time.Now(), root)}, []*revocation.Denylist{deny}, revocation.SetOptions{})
		keys := make([]*revocation.Keys, 256)
		for i := range keys {
			keys[i] = revocation.KeysOf(middle.chain(middle.leaf(b, nth(n+i))), nil)
		}
		now := time.Now()
		b.Run(fmt.Sprintf("good/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if r := set.Check(keys[i%len(keys)], now); r.Status != revocation.Good {
					b.Fatal(r.Detail())
				}
			}
			b.ReportMetric(kept, "bytes-kept-by-denylist")
		})
	}
}
