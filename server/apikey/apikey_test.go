package apikey

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

func mint(t testing.TB) (key, id string) {
	t.Helper()
	key, id, err := Mint()
	if err != nil {
		t.Fatal(err)
	}
	return key, id
}

func TestMintAndParse(t *testing.T) {
	shape := regexp.MustCompile(`^sgk_[0-9A-Za-z]{11}_[0-9A-Za-z]{49}$`)
	seen := make(map[string]bool)
	for range 1000 {
		key, id := mint(t)
		if !shape.MatchString(key) || seen[key] {
			t.Fatalf("key of the wrong shape, or twice (length %d)", len(key))
		}
		seen[key] = true
		if got, ok := Parse(key); !ok || got != id {
			t.Fatalf("Parse: %q %t, want %q", got, ok, id)
		}
	}
	key, _ := mint(t)
	flipped := []byte(key)
	flipped[30] = alphabet[(strings.IndexByte(alphabet, flipped[30])+1)%62]
	for name, bad := range map[string]string{
		"empty": "", "short": key[:64], "long": key + "0", "other prefix": "sgx_" + key[4:],
		"one digit off": string(flipped), "no separator": strings.Replace(key, "_", "0", 2), "space": key[:20] + " " + key[21:],
	} {
		if _, ok := Parse(bad); ok {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestLookup(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	keys := make([]string, 6)
	entries := make([]Entry, 6)
	for i := range keys {
		var id string
		keys[i], id = mint(t)
		entries[i] = Entry{ID: id, Tenant: fmt.Sprint("t", i), Digest: Digest(keys[i])}
	}
	entries[1].NotAfter = now
	entries[2].NotBefore = now.Add(time.Second)
	entries[3].RevokedAt = now.Add(-time.Hour)
	entries[4].ID = "k1" // a label of the operator's
	entries[5].Digest = Digest("a-key-of-another-system")
	entries[5].ID = "k2"
	r, err := NewRing(entries)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, key string
		now       time.Time
		tenant    string
		want      Verdict
	}{
		{"good", keys[0], now, "t0", OK},
		{"at notAfter", keys[1], now, "t1", Expired},
		{"before notAfter", keys[1], now.Add(-time.Nanosecond), "t1", OK},
		{"before notBefore", keys[2], now, "t2", NotYetValid},
		{"at notBefore", keys[2], now.Add(time.Second), "t2", OK},
		{"revoked", keys[3], now, "t3", Revoked},
		{"by digest", keys[4], now, "t4", OK},
		{"foreign", "a-key-of-another-system", now, "t5", OK},
		{"the foreign key's label", "k2", now, "", Unknown},
		{"empty", "", now, "", Unknown},
		{"known id, other secret", keys[0][:17] + keys[1][17:], now, "", Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, v := r.Lookup(tt.key, tt.now)
			if v != tt.want || (e == nil) != (tt.want == Unknown) || (e != nil && e.Tenant != tt.tenant) {
				t.Errorf("got %+v %v, want %q %v", e, v, tt.tenant, tt.want)
			}
		})
	}
	unknown, _ := mint(t)
	if n := testing.AllocsPerRun(100, func() { r.Lookup(keys[0], now); r.Lookup(unknown, now) }); n != 0 && !pkitest.Race {
		t.Errorf("%v allocations", n)
	}
}

// An entry without a digest must not be found by a key whose digest happens to
// be compared with the dummy's.
func TestDummyIsNoKey(t *testing.T) {
	r, err := NewRing(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.dummy.Digest = Digest("x")
	if _, v := r.Lookup("x", time.Now()); v != Unknown {
		t.Errorf("the dummy was found: %v", v)
	}
}

func TestRingRefusesTwins(t *testing.T) {
	d, e := Digest("a"), Digest("b")
	for name, twins := range map[string][]Entry{
		"id":     {{ID: "k1", Tenant: "acme", Digest: d}, {ID: "k1", Tenant: "globex", Digest: e}},
		"digest": {{ID: "k1", Tenant: "acme", Digest: d}, {ID: "k2", Tenant: "globex", Digest: d}},
	} {
		if _, err := NewRing(twins); err == nil || !strings.Contains(err.Error(), "acme") || !strings.Contains(err.Error(), "globex") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		entries := make([]Entry, n)
		var last string
		for i := range entries {
			key, id := mint(b)
			entries[i], last = Entry{ID: id, Digest: Digest(key)}, key
		}
		r, err := NewRing(entries)
		if err != nil {
			b.Fatal(err)
		}
		unknown, _ := mint(b)
		for name, key := range map[string]string{"known": last, "unknown": unknown} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r.Lookup(key, time.Time{})
				}
			})
		}
	}
}

// The expression that the documentation gives secret scanners finds every key.
func TestScannersFindKeys(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "Secret scanners")
	_, rest, _ = strings.Cut(rest, "```\n")
	expression, _, found := strings.Cut(rest, "\n```")
	if !found || !strings.Contains(expression, "sgk_") {
		t.Fatalf("no expression on the page, but %q", expression)
	}
	scan := regexp.MustCompile(expression)
	for range 1000 {
		key, _ := mint(t)
		if got := scan.FindString("Authorization: Bearer " + key + "\n"); got != key {
			t.Fatalf("found %q in the place of %q", got, key)
		}
	}
}
