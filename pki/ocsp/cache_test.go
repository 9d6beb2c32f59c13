package ocsp

import (
	"context"
	"crypto/x509"
	"math/big"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sangate/sangate/pki/pkitest"
)

// many makes certificates that were never signed: enough to be counted.
func many(n int) (leaves []*x509.Certificate) {
	for i := range n {
		leaves = append(leaves, &x509.Certificate{
			Raw: big.NewInt(int64(i)).Bytes(), SerialNumber: big.NewInt(int64(i)),
			NotAfter: time.Now().Add(time.Hour), OCSPServer: []string{"http://127.0.0.1:1/"},
		})
	}
	return leaves
}

func TestSameEntry(t *testing.T) {
	ca := newCA(t, "ours", nil)
	again := certify(t, ca, &x509.Certificate{Subject: ca.cert.Subject, IsCA: true, BasicConstraintsValid: true})
	leaf := ca.leaf(t, "http://127.0.0.1:1/")
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := c.Entry(chain(leaf, ca))
	parsed, err := x509.ParseCertificate(leaf.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if c.Entry([]*x509.Certificate{parsed, ca.cert}) != e {
		t.Error("another entry for the same certificate")
	}
	if c.Entry(chain(leaf, again)) == e || c.Entry(chain(ca.leaf(t, "http://127.0.0.1:1/"), ca)) == e {
		t.Error("the same entry for another issuer or certificate")
	}
	if status, detail := e.Status(time.Now()); status != Unknown || !strings.Contains(detail, "yet") {
		t.Errorf("%v, %q", status, detail)
	}
}

// Many who wait for one certificate ask once; the handshake's wait and the
// look of a request agree.
func TestAwaitAsksOnce(t *testing.T) {
	ca := newCA(t, "ours", nil)
	r := &responder{ca: ca}
	url := r.listen(t)
	release := make(chan struct{})
	r.whole = func(http.ResponseWriter) bool { <-release; return false }
	c := start(t, Options{})
	leaf := ca.leaf(t, url)
	var wg sync.WaitGroup
	var waiting atomic.Int64
	for range 100 {
		wg.Go(func() {
			e := c.Entry(chain(leaf, ca))
			waiting.Add(1)
			if status, detail := await(t, e); status != Good || detail != "" {
				t.Errorf("%v, %q", status, detail)
			}
		})
	}
	for waiting.Load() < 100 {
		runtime.Gosched()
	}
	close(release)
	wg.Wait()
	if n := r.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestAwaitEnds(t *testing.T) {
	ca := newCA(t, "ours", nil)
	r := &responder{ca: ca}
	c, err := New(Options{Transport: r})
	if err != nil {
		t.Fatal(err)
	}
	e := c.Entry(chain(ca.leaf(t, "http://r/"), ca))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if status, _ := e.Await(ctx); status != Unknown { // nobody runs the cache
		t.Error(status)
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	if err := c.Run(over); err != nil {
		t.Fatal(err)
	}
	if status, _ := e.Await(context.Background()); status != Unknown {
		t.Error(status)
	}
	if c.Run(t.Context()) == nil {
		t.Error("ran twice")
	}
}

// First look-ups past the bound are looked at later, not never and not before.
func TestPostponed(t *testing.T) {
	ca := newCA(t, "ours", nil)
	heard := make(outcomes, 10)
	c, err := New(Options{OnAnswer: heard.hear})
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range many(maxWaiting + 1) {
		c.Entry([]*x509.Certificate{leaf, ca.cert})
	}
	if len(c.waiting) != maxWaiting || len(c.ailing) != 1 || len(heard) != 1 || heard.next(t) != Postponed {
		t.Errorf("%d wait, %d postponed, %d told", len(c.waiting), len(c.ailing), len(heard))
	}
	now := time.Now().Add(2 * time.Second)
	for i := range maxWaiting + 1 {
		if e, _ := c.next(now); e == nil || e.serial.Int64() != int64(i) {
			t.Fatalf("look %d is at %v", i, e)
		}
	}
}

func TestStatusDoesNotAllocate(t *testing.T) {
	if pkitest.Race {
		t.Skip("the race detector allocates")
	}
	for name, e := range entriesOfEveryKind(t) {
		now := time.Now()
		if n := testing.AllocsPerRun(1000, func() {
			now = now.Add(10 * time.Millisecond)
			e.Status(now)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkStatus(b *testing.B) {
	for name, e := range entriesOfEveryKind(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			now := time.Now()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					e.Status(now)
				}
			})
		})
	}
}

func entriesOfEveryKind(t testing.TB) map[string]*Entry {
	ca := newCA(t, "ours", nil)
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	entries := make(map[string]*Entry)
	for i, leaf := range many(4) {
		e := c.Entry([]*x509.Certificate{leaf, ca.cert})
		name := [...]string{"good", "revoked", "stale", "none"}[i]
		entries[name] = e
		a := &answer{status: Good, thisUpdate: now, until: now.Add(time.Hour)}
		switch name {
		case "revoked":
			a.status = Revoked
		case "stale":
			a.until = now.Add(-time.Second)
		case "none":
			continue
		}
		if _, err := e.take(a, now); err != nil {
			t.Fatal(err)
		}
	}
	entries["mute"] = c.Entry(chain(ca))
	return entries
}

// An entry costs little next to the certificate it is about.
func BenchmarkEntryMemory(b *testing.B) {
	ca := newCA(b, "ours", nil)
	c, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	const n = 100_000
	leaves := many(n)
	now := time.Now()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		for _, leaf := range leaves {
			e := c.Entry([]*x509.Certificate{leaf, ca.cert})
			e.take(&answer{status: Good, thisUpdate: now, until: now.Add(time.Hour)}, now)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/entry")
	runtime.KeepAlive(leaves)
	runtime.KeepAlive(c)
}
